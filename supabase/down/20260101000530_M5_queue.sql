-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_staff_order_counts, public.get_unassigned_counts, public.get_queue_stats,
public.get_complete, public.get_orders_for_dashboard, public.get_unassigned_list, public.get_queue,
app.check_page;

commit;
