begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.get_order_history, public.get_order, public.get_order_v2, public.find_order;
commit;
