-- The months that a table does not keep, and those that are detached. `detach` starts or finishes.
select
  m.name,
  m.parent,
  m.state,
  m.is_old,
  pg_total_relation_size(format('public.%I', m.name)::regclass) as bytes,
  format(
    'alter table public.%I detach partition public.%I %s', m.parent, m.name,
    case m.state when 'detaching' then 'finalize' else 'concurrently' end
  ) as detach
from app.months() as m
where m.is_old or m.state <> 'attached'
order by m.begins, m.name
