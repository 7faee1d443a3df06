-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.cancel_order(text, text, text),
public.create_manual_order(text, text, text, text, text, text, date, text, text, text),
public.update_order_core(
  text, text, text, text, text, text, date, text, text, integer, text, text, text[]
),
public.update_order_due_date(text, text, date), public.update_order_priority(text, text, text),
public.update_order_notes(text, text, text), public.set_storage(text, text, text),
public.bulk_assign(text, text[], uuid), public.assign_staff_bulk(text[], text, uuid),
public.unassign_staff(text, text), public.assign_staff(text, text, uuid, text),
app.set_assignee(app.caller, text, public.event_type, uuid, text),
app.edit_order(app.caller, text, jsonb), app.lock_order(text, boolean),
app.checked_fields(jsonb),
app.record_change(app.caller, public.orders, public.event_type, jsonb),
app.order_answer(public.orders, boolean);

commit;
