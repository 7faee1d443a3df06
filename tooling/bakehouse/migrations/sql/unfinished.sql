-- The objects of the unfinished steps of the versions $1, with their hash in the baseline.
select
  'index ' || s.index_name as name,
  b.objects ->> ('index ' || s.index_name) as hash
from bakehouse.steps as s
left join bakehouse.baseline as b on b.only_row
where not s.done and s.version = any($1::text[]) and s.index_name is not null
