-- The newest backup in the answer ($1) of the Supabase CLI, or why there is none.
with backups as (
  select
    (b.value ->> 'inserted_at')::timestamptz as taken_at,
    'daily backup' as detail
  from jsonb_array_elements($1::jsonb -> 'backups') as b
  where b.value ->> 'status' = 'COMPLETED'

  union all
  select
    to_timestamp(
      ($1::jsonb -> 'physical_backup_data' ->> 'latest_physical_backup_date_unix')::bigint
    ) as taken_at,
    'point in time' as detail
  where ($1::jsonb ->> 'pitr_enabled')::boolean
)

select
  max(b.taken_at) as taken_at,
  (array_agg(b.detail order by b.taken_at desc nulls last))[1] as detail,
  case
    when $1::jsonb -> 'backups' is null then 'the answer is in an unknown form'
    when max(b.taken_at) is null then 'the project has no completed backup'
  end as problem
from backups as b
