begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.get_staff_order_counts, public.get_unassigned_counts, public.get_queue_stats;
commit;
