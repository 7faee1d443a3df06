-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_shortages(text), public.deduct_on_order_create(text, jsonb),
app.restock_order(text, text), app.deduct_order(text, text, jsonb), app.fill_holds(uuid),
app.mark_blocked(text, text, jsonb), app.find_bom(text, jsonb), app.match_item(jsonb);
drop table if exists public.reservation_holds;
alter table if exists public.orders drop column if exists inventory_blocked;

commit;
