begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.get_orders_for_dashboard, public.get_unassigned_list, public.get_queue, app.count_queue,
app.name_key, app.queue_stage, app.read_page;
drop type if exists app.page;
commit;
