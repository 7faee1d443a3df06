begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
alter table if exists public.orders drop constraint if exists orders_shopify_order_fkey;
drop function if exists app.ingest_order;
drop table if exists public.shopify_orders;
commit;
