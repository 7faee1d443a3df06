begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.set_order_site, public.update_order_core, public.update_order_due_date,
public.update_order_priority, public.update_order_notes, public.set_storage, app.edit_order,
app.clean_order_fields;
commit;
