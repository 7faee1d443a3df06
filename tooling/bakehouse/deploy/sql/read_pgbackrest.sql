-- The newest backup of this server in the answer ($1) of pgbackrest, or why there is none.
with stanzas as (
  select
    s.value ->> 'name' as name,
    s.value -> 'status' as status,
    s.value -> 'backup' as backups,
    array(
      select d.value -> 'id' from jsonb_array_elements(s.value -> 'db') as d
      where d.value ->> 'system-id' = c.system_identifier::text
    ) as ids
  from jsonb_array_elements($1::jsonb) as s
  cross join pg_control_system() as c
),

backups as (
  select
    to_timestamp((b.value -> 'timestamp' ->> 'stop')::bigint) as taken_at,
    format('backup %s of stanza %s', b.value ->> 'label', s.name) as detail
  from stanzas as s
  cross join jsonb_array_elements(s.backups) as b
  where
    s.status ->> 'code' = '0' and b.value -> 'database' -> 'id' = any(s.ids)
    and coalesce(b.value ->> 'error', 'false') = 'false'
  order by taken_at desc
  limit 1
),

reasons as (
  select
    string_agg(
      case
        when s.status ->> 'code' <> '0' then concat(s.name, ': ', s.status ->> 'message')
        when s.ids = '{}' then concat(s.name, ' is of another server than this one')
      end, '; '
    ) as problem
  from stanzas as s
)

select
  b.taken_at,
  b.detail,
  case when b.taken_at is null then coalesce(r.problem, 'no stanza has a backup') end as problem
from reasons as r
left join backups as b on true
