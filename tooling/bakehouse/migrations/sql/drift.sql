-- What differs between the baseline and what is there now ($1), and what is accepted of that.
-- Skips a partition that no file made, because the shop adds partitions at run time.
with
known as (
  select
    one.key as name,
    one.value as hash
  from bakehouse.baseline as b
  cross join jsonb_each_text(b.objects) as one
),

now as (
  select
    one.key as name,
    one.value as hash
  from jsonb_each_text($1::jsonb) as one
  where exists (select from bakehouse.baseline)
),

differences as (
  select
    k.hash as was,
    n.hash,
    coalesce(k.name, n.name) as name,
    case when k.name is null then 'added' when n.name is null then 'gone' else 'changed' end
      as change
  from known as k
  full join now as n on k.name = n.name
  where k.hash is distinct from n.hash
)

select
  o.name,
  o.change,
  o.hash,
  a.until,
  split_part(o.name, ' ', 1) in (
    'index', 'extension', 'options', 'statistics', 'publication', 'event', 'setting'
  ) as ownable,
  coalesce(d.statement, '') as recorded_sql,
  coalesce(d.definition, '') as recorded,
  case
    when a.object is null then 'open'
    when coalesce(a.hash, '') <> coalesce(o.hash, '') then 'changed since'
    when a.until < current_date then 'expired'
    else 'accepted'
  end as state,
  coalesce(a.reason, '') as reason,
  coalesce(a.accepted_by, '') as accepted_by
from differences as o
left join bakehouse.accepted_drift as a on o.name = a.object
left join bakehouse.definitions as d on o.name = d.object and o.was = d.hash
where not (o.change = 'added' and starts_with(o.name, 'partition '))
order by o.change, o.name
