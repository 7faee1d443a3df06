-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.inventory_txn, public.inventory_items;
drop function if exists
public.apply_reconcile(jsonb), public.get_push_items(text[]),
public.get_stock_transactions(text, uuid, integer), public.get_inventory_status(text),
public.set_stock_buffer(uuid, numeric),
public.adjust_cake_topper_stock(uuid, numeric, text, text, text),
public.adjust_accessory_stock(uuid, numeric, text, text, text),
public.adjust_component_stock(uuid, numeric, text, text, text),
app.adjust_stock(text, uuid, numeric, text, text, text),
app.move_stock(uuid, numeric, text, text, text, text, text, text), app.push_stock(),
app.checked_quantity(numeric);
drop domain if exists public.stock_quantity;

commit;
