begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.transfer_stock, public.get_stock_transactions, public.get_inventory_status,
public.set_stock_buffer, public.adjust_cake_topper_stock, public.adjust_accessory_stock,
public.adjust_component_stock, app.adjust_stock;
commit;
