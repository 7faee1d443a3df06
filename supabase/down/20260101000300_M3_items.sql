-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.inventory_txn, public.inventory_items;
drop function if exists
public.apply_reconcile, public.get_push_items, public.get_stock_transactions,
public.get_inventory_status, public.set_stock_buffer, public.adjust_cake_topper_stock,
public.adjust_accessory_stock, public.adjust_component_stock, app.adjust_stock, app.move_stock,
app.push_stock, app.checked_quantity;
drop domain if exists public.stock_quantity;

commit;
