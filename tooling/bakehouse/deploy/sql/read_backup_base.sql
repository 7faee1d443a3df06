-- The time of a base backup by its manifest ($1), which names its server from Postgres 17 on.
select
  'manifest' as detail,
  (
    select max(f.value ->> 'Last-Modified')::timestamptz
    from jsonb_array_elements($1::jsonb -> 'Files') as f
  ) as taken_at,
  case
    when $1::jsonb ->> 'System-Identifier' <> c.system_identifier::text
      then 'the base backup is of another server than this one'
  end as problem
from pg_control_system() as c
