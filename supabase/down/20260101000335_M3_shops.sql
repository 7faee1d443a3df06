begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop trigger if exists inventory_items_push_stock on public.inventory_items;
drop function if exists public.apply_reconcile, public.get_push_items;
drop function if exists app.push_stock;

commit;
