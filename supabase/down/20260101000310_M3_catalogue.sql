-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.bom_items, public.boms, public.accessory_keywords;
drop function if exists
public.delete_bom, public.save_bom_items, public.upsert_bom, public.get_boms,
public.upsert_accessory_keyword, public.get_accessory_keywords, public.get_cake_toppers,
public.get_accessories_needing_sync, public.get_accessories, public.get_low_stock_components,
public.get_components, public.soft_delete_cake_topper, public.soft_delete_accessory,
public.delete_component, public.upsert_cake_topper, public.upsert_accessory,
public.upsert_component, app.lock_bom, app.save_item;

commit;
