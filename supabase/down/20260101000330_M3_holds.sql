begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('fill_holds');
  delete from app.hooks as hooks where hooks.function = 'settle_stock';
end if; end $$;
drop trigger if exists inventory_txn_fill_waiting on public.inventory_txn;
drop function if exists
app.fill_waiting, public.get_shortages, app.settle_stock, app.settle_order, app.settle_item,
app.fill_holds, app.set_hold, app.update_inventory_blocked;
alter table if exists public.orders drop column if exists inventory_blocked;
commit;
