begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('shopify_orders');
end if; end $$;
alter table if exists public.orders drop constraint if exists orders_shopify_order_fkey;
drop function if exists app.audit_shopify_orders, app.ingest_order, app.change_order;
drop table if exists public.shopify_orders;
commit;
