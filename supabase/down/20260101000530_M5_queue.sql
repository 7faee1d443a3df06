-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_staff_order_counts(), public.get_unassigned_counts(text), public.get_queue_stats(text),
public.get_complete(text, date, date, text, integer, integer, text, text, text, text),
public.get_orders_for_dashboard(text, text),
public.get_unassigned_list(text, text, integer, integer),
public.get_queue(
  text, text, uuid, text, text, text, integer, integer, text, text, text, date, date, boolean
),
app.check_page(integer, integer, text, text[], text, text);

commit;
