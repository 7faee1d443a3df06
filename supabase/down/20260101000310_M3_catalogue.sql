-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.bom_items, public.boms, public.accessory_keywords;
drop function if exists
public.delete_bom(uuid), public.save_bom_items(uuid, jsonb),
public.upsert_bom(uuid, text, text, text, boolean, text, text),
public.get_boms(text, boolean, text),
public.upsert_accessory_keyword(text, uuid, uuid, integer, text, boolean),
public.get_accessory_keywords(text, boolean), public.get_cake_toppers(boolean),
public.get_accessories_needing_sync(), public.get_accessories(text, boolean),
public.get_low_stock_components(), public.get_components(text, boolean, text),
public.soft_delete_cake_topper(uuid), public.soft_delete_accessory(uuid),
public.delete_component(uuid),
public.upsert_cake_topper(uuid, text, text, numeric, text, text, boolean, text),
public.upsert_accessory(uuid, text, text, text, text, numeric, boolean, text),
public.upsert_component(uuid, text, text, text, text, numeric, text, boolean), app.lock_bom(uuid),
app.save_item(text, uuid, jsonb);

commit;
