begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.get_cake_toppers, public.get_accessories_needing_sync, public.get_accessories,
public.get_low_stock_components, public.get_components, public.soft_delete_cake_topper,
public.soft_delete_accessory, public.delete_component, public.upsert_cake_topper,
public.upsert_accessory, public.upsert_component;
commit;
