begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_shortages, app.restock_order, app.deduct_order, app.fill_holds, app.mark_blocked,
app.find_bom, app.match_item;
drop table if exists public.reservation_holds;
alter table if exists public.orders drop column if exists inventory_blocked;

commit;
