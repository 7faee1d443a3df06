-- The reads that a slow plan would hurt most. `bakehouse migrate plan` runs each with EXPLAIN
-- ANALYZE behind the pending files, before it rolls back, and keeps the plans with its evidence.

-- the queue of a store, in its order
select o.id
from public.orders as o
where o.store = 'bannos' and o.is_open
order by o.queue_key
limit 50;

-- who is free to take what
select o.id
from public.orders as o
where o.stage = 'Decorating' and o.assignee_id is null and o.is_open
order by o.queue_key
limit 50;

-- who ordered it, by any part of a name
select w.id
from app.order_words as w
where w.is_open and w.words like '%smith%'
order by w.id
limit 50;

-- what is due, day by day
select o.id
from public.orders as o
where o.is_open and substr(o.queue_key, 3) < to_char(current_date + 7, 'YYYYMMDD')
order by substr(o.queue_key, 3)
limit 50;

-- one order by its number, as it is scanned
select o.id
from public.orders as o
where o.shopify_order_number = 10001;
