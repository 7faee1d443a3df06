-- get_queue as Staff
select id, priority, due_date, stage, total_count, page_key
from public.get_queue(p_store => 'bannos', p_priority => 'High', p_limit => 20);

-- get_unassigned_list as Supervisor
select public.get_unassigned_list('bannos', 'Filling');

-- get_orders_for_dashboard as Supervisor
select public.get_orders_for_dashboard(null, 'week');

-- get_complete as Staff
select id, packing_complete_ts, total_count
from public.get_complete(
  'bannos', p_start_date => '2026-03-01', p_end_date => '2026-03-31', p_sort_by => 'customer_name'
);

-- get_queue_stats as Staff
select * from public.get_queue_stats('bannos');

-- get_unassigned_counts as Staff
select stage, count from public.get_unassigned_counts('bannos');

-- get_staff_order_counts as Supervisor
select user_id, order_count from public.get_staff_order_counts();

-- find_order as Staff
select id, stage, customer_name from public.find_order('10001');

-- get_order as Staff
select id, stage, customer_name, due_date from public.get_order('bannos-10001');

-- get_order_v2 as Supervisor
select id, accessories, shipping_address from public.get_order_v2('bannos-10001', 'bannos');

-- get_order_history as Staff
select public.complete_filling('bannos-10001');
select event_type, stage, round, seconds_in_stage, leaves_stage, staff_name
from public.get_order_history('bannos-10001');
