-- The objects of the unfinished steps of the versions $1, with their hash in the baseline.
with
named as (
  select 'index ' || s.index_name as name
  from bakehouse.steps as s
  where not s.done and s.version = any($1::text[])
  union
  -- an index of a partition is a part of it
  select 'partition ' || i.indrelid::regclass as name
  from bakehouse.steps as s
  inner join pg_index as i on to_regclass(s.index_name) = i.indexrelid
  inner join pg_class as c on i.indrelid = c.oid
  where not s.done and s.version = any($1::text[]) and c.relispartition
)

select
  n.name,
  b.objects ->> n.name as hash
from named as n
left join bakehouse.baseline as b on b.only_row
where n.name is not null
