-- Keep the definition of each object in the baseline, and drop those of earlier baselines.
with
forgotten as (
  delete from bakehouse.definitions as d
  using bakehouse.baseline as b
  where b.objects ->> d.object is distinct from d.hash
)

insert into bakehouse.definitions (object, hash, definition, statement)
select
  n.object,
  n.hash,
  n.definition,
  n.statement
from
  unnest($1::text[], $2::text[], $3::text[], $4::text[])
    as n (object, hash, definition, statement)
inner join bakehouse.baseline as b on b.objects ->> n.object = n.hash
on conflict (object, hash) do nothing
returning object
