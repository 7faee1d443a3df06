begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.resettle_order, public.deduct_on_order_create, public.cancel_order,
public.create_manual_order;
commit;
