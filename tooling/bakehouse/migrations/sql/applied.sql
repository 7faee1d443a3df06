-- The history, if bakehouse has applied files. to_jsonb reads the table of any CLI version.
select
  h.version,
  m.sql_hash,
  m.byte_hash,
  m.applied_at,
  m.applied_by,
  m.duration_ms,
  coalesce(m.name, f.row ->> 'name') as name,
  coalesce(to_jsonb(m) ->> 'how', 'applied') as how,
  to_jsonb(m) ->> 'reason' as reason,
  case
    when f.row ->> 'foreign_at' is not null
      then
        concat(
          f.row ->> 'foreign_by', ' at ',
          to_char(
            (f.row ->> 'foreign_at')::timestamptz at time zone 'UTC',
            'YYYY-MM-DD HH24:MI "UTC"'
          )
        )
    else ''
  end as foreign_row,
  case when m.version is null then f.row -> 'statements' end as statements
from supabase_migrations.schema_migrations as h
cross join lateral to_jsonb(h) as f (row)
left join bakehouse.migrations as m on h.version = m.version
order by h.version collate "C" -- noqa: RF02
