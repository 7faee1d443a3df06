-- M3 parts: components, accessories and cake toppers.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.upsert_component(
  p_id uuid default null, p_sku text default null, p_name text default null,
  p_description text default null, p_category text default null, p_min_stock numeric default null,
  p_unit text default null, p_is_active boolean default null
)
returns uuid
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('component', p_id, jsonb_build_object(
    'sku', p_sku, 'title', p_name, 'description', p_description, 'category', p_category,
    'min_stock', p_min_stock, 'uom', p_unit, 'is_active', p_is_active
  ));
$$;
comment on function public.upsert_component is
'Creates a component, or updates the component with this id. Returns its id. Never changes stock.

Audited. A null field stays unchanged. An empty description clears the description. A new component has category other, unit each and min_stock 0 by default.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken, or a recipe needs the item).';
grant execute on function public.upsert_component to authenticated;

create or replace function public.upsert_accessory(
  p_id uuid default null, p_sku text default null, p_name text default null,
  p_category text default null, p_product_match text default null, p_min_stock numeric default null,
  p_is_active boolean default null, p_shopify_variant_id text default null
)
returns uuid
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('accessory', p_id, jsonb_build_object(
    'sku', p_sku, 'title', p_name, 'category', p_category, 'product_match', p_product_match,
    'min_stock', p_min_stock, 'is_active', p_is_active, 'shopify_variant_id', p_shopify_variant_id
  ));
$$;
comment on function public.upsert_accessory is
'Creates an accessory, or updates the accessory with this id. Returns its id. Never changes stock.

Audited. A null field stays unchanged. An empty product_match or variant clears that field. A new accessory has category other and min_stock 5 by default.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken, or a recipe needs the item).';
grant execute on function public.upsert_accessory to authenticated;

create or replace function public.upsert_cake_topper(
  p_id uuid default null, p_name_1 text default null, p_name_2 text default null,
  p_min_stock numeric default null, p_shopify_product_id_1 text default null,
  p_shopify_product_id_2 text default null, p_is_active boolean default null,
  p_sku text default null
)
returns uuid
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('topper', p_id, jsonb_build_object(
    'title', p_name_1, 'alt_title', p_name_2, 'min_stock', p_min_stock,
    'shopify_product_id_1', p_shopify_product_id_1,
    'shopify_product_id_2', p_shopify_product_id_2, 'is_active', p_is_active, 'sku', p_sku
  ));
$$;
comment on function public.upsert_cake_topper is
'Creates a cake topper, or updates the cake topper with this id. Returns its id. Never changes stock.

Audited. name_1 and name_2 are the titles of the cakes that include the topper. A null field stays unchanged. An empty name_2 or product clears that field. A new topper has min_stock 5 by default. Without p_sku, a new topper gets a generated SKU.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken, or a recipe needs the item).';
grant execute on function public.upsert_cake_topper to authenticated;

create or replace function public.delete_component(p_id uuid)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('component', p_id, '{"is_active": false}') is not null;
$$;
comment on function public.delete_component is
'Retires a component. The ledger keeps the component, and lists of active items leave the component out. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs the component).';
grant execute on function public.delete_component to authenticated;

create or replace function public.soft_delete_accessory(p_id uuid)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('accessory', p_id, '{"is_active": false}') is not null;
$$;
comment on function public.soft_delete_accessory is
'Retires an accessory. The ledger keeps the accessory, and orders no longer match it. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs the accessory).';
grant execute on function public.soft_delete_accessory to authenticated;

create or replace function public.soft_delete_cake_topper(p_id uuid)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.save_item('topper', p_id, '{"is_active": false}') is not null;
$$;
comment on function public.soft_delete_cake_topper is
'Retires a cake topper. The ledger keeps the topper, and orders no longer match it. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs the topper).';
grant execute on function public.soft_delete_cake_topper to authenticated;

create or replace function public.get_components(
  p_category text default null, p_active_only boolean default true, p_search text default null,
  p_site text default null
)
returns table (
  id uuid, sku text, name text, description text, category text, unit text, current_stock numeric,
  min_stock numeric, is_active boolean, is_low_stock boolean, created_at timestamptz,
  updated_at timestamptz, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select app.check_length('p_search', p_search, 200);
  select
    items.id, items.sku, items.title, items.description, items.category, items.uom,
    stock.on_hand, items.min_stock::numeric, items.is_active, stock.on_hand < items.min_stock,
    items.created_at, items.updated_at, stock.site
  from public.inventory_items as items
  inner join app.stock_at(app.require_sites(p_site)) as stock on stock.item_id = items.id
  where items.kind = 'component'
  and (p_category is null or items.category = p_category)
  and (items.is_active or p_active_only is false)
  and strpos(lower(items.title || ' ' || items.sku), lower(coalesce(p_search, ''))) > 0
  order by items.title, items.id;
$$;
comment on function public.get_components is
'Returns components, sorted by name. p_search looks in name and SKU. The stock is that of p_site, or the total of all sites of the caller.

Role: Staff. Errors: BAD_INPUT (p_search has more than 200 characters, no such site).';
grant execute on function public.get_components to authenticated;

create or replace function public.get_low_stock_components(p_site text default null)
returns table (
  id uuid, sku text, name text, category text, unit text, current_stock numeric,
  min_stock numeric, shortage numeric, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select
    items.id, items.sku, items.title, items.category, items.uom, stock.on_hand,
    items.min_stock::numeric, items.min_stock - stock.on_hand, stock.site
  from public.inventory_items as items
  inner join app.stock_at(app.require_sites(p_site)) as stock on stock.item_id = items.id
  where items.kind = 'component' and items.is_active and stock.on_hand < items.min_stock
  order by items.min_stock - stock.on_hand desc, items.title, items.id;
$$;
comment on function public.get_low_stock_components is
'Returns active components below their minimum, the largest shortage first. The stock is that of p_site, or the total of all sites of the caller.

Role: Staff. Errors: BAD_INPUT (no such site).';
grant execute on function public.get_low_stock_components to authenticated;

create or replace function public.get_accessories(
  p_category text default null, p_active_only boolean default true, p_site text default null
)
returns table (
  id uuid, sku text, name text, category text, product_match text, shopify_variant_id text,
  current_stock numeric, min_stock numeric, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select
    items.id, items.sku, items.title, items.category, items.product_match,
    items.shopify_variant_id, stock.on_hand, items.min_stock::numeric, items.is_active,
    stock.on_hand > 0 and stock.on_hand < items.min_stock, stock.on_hand = 0, items.created_at,
    items.updated_at, stock.site
  from public.inventory_items as items
  inner join app.stock_at(app.require_sites(p_site)) as stock on stock.item_id = items.id
  where items.kind = 'accessory'
  and (p_category is null or items.category = p_category)
  and (items.is_active or p_active_only is false)
  order by items.title, items.id;
$$;
comment on function public.get_accessories is
'Returns accessories, sorted by name. is_low_stock: the stock is above 0 and below the minimum. The stock is that of p_site, or the total of all sites of the caller.

Role: Staff. Errors: BAD_INPUT (no such site).';
grant execute on function public.get_accessories to authenticated;

create or replace function public.get_accessories_needing_sync(p_site text default null)
returns table (
  id uuid, sku text, name text, category text, product_match text, shopify_variant_id text,
  current_stock numeric, min_stock numeric, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select
    listed.id, listed.sku, listed.name, listed.category, listed.product_match,
    listed.shopify_variant_id, listed.current_stock, listed.min_stock, listed.is_active,
    listed.is_low_stock, listed.is_out_of_stock, listed.created_at, listed.updated_at, listed.site
  from public.get_accessories(p_site => p_site) as listed where listed.is_out_of_stock
  order by listed.name, listed.id;
$$;
comment on function public.get_accessories_needing_sync is
'Returns active accessories that are out of stock. The push to the shops needs no call: each change of stock queues one. The stock is that of p_site, or the total of all sites of the caller.

Role: Staff. Errors: BAD_INPUT (no such site).';
grant execute on function public.get_accessories_needing_sync to authenticated;

create or replace function public.get_cake_toppers(
  p_active_only boolean default true, p_site text default null
)
returns table (
  id uuid, name_1 text, name_2 text, sku text, current_stock numeric, min_stock numeric,
  shopify_product_id_1 text, shopify_product_id_2 text, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select
    items.id, items.title, items.alt_title, items.sku, stock.on_hand, items.min_stock::numeric,
    items.shopify_product_id_1, items.shopify_product_id_2, items.is_active,
    stock.on_hand > 0 and stock.on_hand < items.min_stock, stock.on_hand = 0, items.created_at,
    items.updated_at, stock.site
  from public.inventory_items as items
  inner join app.stock_at(app.require_sites(p_site)) as stock on stock.item_id = items.id
  where items.kind = 'topper' and (items.is_active or p_active_only is false)
  order by items.title, items.id;
$$;
comment on function public.get_cake_toppers is
'Returns cake toppers, sorted by name. is_low_stock: the stock is above 0 and below the minimum. The stock is that of p_site, or the total of all sites of the caller.

Role: Staff. Errors: BAD_INPUT (no such site).';
grant execute on function public.get_cake_toppers to authenticated;

select app.assert_grants();
commit;
