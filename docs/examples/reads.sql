-- Chapter 2: Queue, lists and search

-- get_queue as Staff
select queue.id, queue.stage, queue.priority, queue.due_date, queue.size
from public.get_queue('bannos', p_stage => 'Filling', p_search => 'cake', p_limit => 20) as queue;

-- get_queue as Supervisor
-- the second page: after the page_key of the last row of the first
select next.id, next.store
from public.get_queue(p_limit => 1) as page,
lateral public.get_queue(p_limit => 1, p_after => page.page_key) as next;

-- get_orders_for_dashboard as Staff
select shown.facts ->> 'id' as id, shown.facts ->> 'due_date' as due_date
from public.get_orders_for_dashboard('bannos', 'week') as shown (facts);

-- get_unassigned_counts as Staff
select counts.stage, counts.count from public.get_unassigned_counts('bannos') as counts;

-- get_unassigned_list as Staff
select waiting.facts ->> 'id' as id
from public.get_unassigned_list('bannos', 'Filling', p_limit => 20) as waiting (facts);

-- get_queue_stats as Staff
select stats.in_production, stats.unassigned_orders, stats.filling_count
from public.get_queue_stats('bannos') as stats;

-- get_staff_order_counts as Supervisor
select public.assign_staff(
  'bannos-10001', p_staff_id => '00000000-0000-4000-8000-000000000003'
);
select busy.user_id, busy.order_count from public.get_staff_order_counts() as busy;

-- get_complete as Admin
select public.mark_order_complete('bannos-10001');
select done.id, done.packing_complete_ts
from public.get_complete('bannos', p_start_date => current_date - 7, p_limit => 20) as done;

-- find_order as Staff
select found.id, found.stage, found.customer_name from public.find_order('customer') as found;

-- get_order as Staff
select one.product_title, one.flavour, one.due_date, one.stage
from public.get_order('bannos-10001') as one;

-- get_order_v2 as Supervisor
select one.product_title, one.shipping_address, one.accessories
from public.get_order_v2('bannos-10001') as one;

-- get_order_history as Staff
select public.complete_filling('bannos-10001');
select event.at_ts, event.event_type, event.stage, event.seconds_in_stage, event.staff_name
from public.get_order_history('bannos-10001') as event;
