-- The reads that must never have a slow plan. `bakehouse migrate plan` runs each with EXPLAIN
-- ANALYZE after the pending files, before the rollback. The plans go into the evidence.

-- the queue of a store, in queue order
select o.id
from public.orders as o
where o.store = 'bannos' and o.is_open
order by o.queue_key
limit 50;

-- the orders of a stage that are not assigned
select o.id
from public.orders as o
where o.stage = 'Decorating' and o.assignee_id is null and o.is_open
order by o.queue_key
limit 50;

-- orders of a customer, by any part of a name
select w.id
from app.order_words as w
where w.is_open and w.words like '%smith%'
order by w.id
limit 50;

-- orders by due date
select o.id
from public.orders as o
where o.is_open and substr(o.queue_key, 3) < to_char(current_date + 7, 'YYYYMMDD')
order by substr(o.queue_key, 3)
limit 50;

-- one order by its number, as it is scanned
select o.id
from public.orders as o
where o.shopify_order_number = 10001;
