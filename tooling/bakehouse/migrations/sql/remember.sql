-- Keep the definition of each object in the baseline, and drop those of earlier baselines.
with
known as materialized (
  select
    one.key as object,
    one.value as hash
  from bakehouse.baseline as b
  cross join jsonb_each_text(b.objects) as one
),

forgotten as (
  delete from bakehouse.definitions as d
  where not exists (
    select from known as k
    where k.object = d.object and k.hash = d.hash
  )
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
inner join known as k on n.object = k.object and n.hash = k.hash
on conflict (object, hash) do nothing
returning object
