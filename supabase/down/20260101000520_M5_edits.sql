-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.cancel_order, public.create_manual_order, public.update_order_core,
public.update_order_due_date, public.update_order_priority, public.update_order_notes,
public.set_storage, public.bulk_assign, public.assign_staff_bulk, public.unassign_staff,
public.assign_staff, app.set_assignee, app.edit_order, app.lock_order, app.checked_fields,
app.record_change, app.order_answer;

commit;
