begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists public.customer_name;
drop table if exists public.order_contacts;
commit;
