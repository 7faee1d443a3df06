begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('fill_holds');
  delete from app.hooks as hooks where hooks.function = 'settle_stock';
end if; end $$;
drop trigger if exists inventory_txn_fill_waiting on public.inventory_txn;
drop function if exists
app.fill_waiting, app.settle_stock, public.get_shortages, app.restock_order, app.deduct_order,
app.fill_holds, app.update_inventory_blocked, app.find_recipe, app.match_item;
drop table if exists public.reservation_holds;
alter table if exists public.orders drop column if exists inventory_blocked;
commit;
