begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.monthly_tables') is not null then
  delete from app.monthly_tables as tables where tables.name = 'inventory_txn';
end if; end $$;
drop function if exists
app.save_item, public.ats, app.stock_at, app.move_stock, app.lock_stock, app.check_quantity;
drop table if exists public.inventory_txn, public.site_stock, public.inventory_items;
drop domain if exists public.stock_quantity;
commit;
