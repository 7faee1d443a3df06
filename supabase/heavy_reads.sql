-- The reads that a slow plan would hurt most. `bakehouse migrate plan` runs each with EXPLAIN
-- ANALYZE behind the pending files, before it rolls back, and keeps the plans with its evidence.

-- the queue of a store, in its order
select o.id
from public.orders as o
where o.store = 'bannos' and o.is_open
order by o.priority desc, o.due_date asc, o.size_rank asc, o.shopify_order_number asc, o.id asc
limit 50;

-- who is free to take what
select o.id
from public.orders as o
where o.stage = 'Decorating' and o.assignee_id is null and o.is_open
order by o.priority desc, o.due_date asc, o.size_rank asc, o.shopify_order_number asc, o.id asc
limit 50;

-- what is due, stage by stage
select
  o.stage,
  count(*) as open_orders
from public.orders as o
where o.is_open and o.due_date <= current_date + 7
group by o.stage;

-- one order by its number, as it is scanned
select o.id
from public.orders as o
where o.shopify_order_number = 10001;
