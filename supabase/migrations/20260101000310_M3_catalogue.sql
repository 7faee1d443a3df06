-- M3 catalogue: components, accessories, toppers and their keywords; recipes of cakes.
--
-- Needs: M0

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Tables
create table if not exists public.accessory_keywords (
  id uuid primary key default gen_random_uuid(),
  keyword text not null check (keyword <> '' and keyword = btrim(keyword)),
  component_id uuid not null references public.inventory_items (id),
  priority integer not null default 0,
  match_type text not null default 'contains'
  check (match_type in ('contains', 'exact', 'starts_with', 'ends_with')),
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists accessory_keywords_active_key
on public.accessory_keywords (lower(keyword), match_type)
where is_active;
create index if not exists accessory_keywords_component_idx
on public.accessory_keywords (component_id);
alter table public.accessory_keywords enable row level security;
comment on table public.accessory_keywords is
'Words in the title of a line that tell the item, when neither its SKU nor its variant does.';
comment on column public.accessory_keywords.component_id is 'The item, of whatever kind.';
comment on column public.accessory_keywords.priority is
'The highest wins, then the longest word. product_match of an item counts as 0.';

create table if not exists public.boms (
  id uuid primary key default gen_random_uuid(),
  product_title text not null check (product_title <> '' and product_title = btrim(product_title)),
  sku text check (sku <> '' and sku = btrim(sku)),
  shopify_product_id text,
  store text references public.stores (code),
  description text,
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists boms_title_key
on public.boms (store, lower(product_title)) nulls not distinct
where is_active;
create unique index if not exists boms_sku_key
on public.boms (store, sku) nulls not distinct
where is_active and sku is not null;
create index if not exists boms_store_idx on public.boms (store);
alter table public.boms enable row level security;
comment on table public.boms is
'Recipes (bills of material): what one piece of a product takes from the stock. Found by SKU, product or exact title.';
comment on column public.boms.store is 'Null: for every store; a recipe of the store itself goes first.';

create table if not exists public.bom_items (
  id uuid primary key default gen_random_uuid(),
  bom_id uuid not null references public.boms (id) on delete cascade,
  component_id uuid not null references public.inventory_items (id),
  quantity_required public.stock_quantity not null check (quantity_required > 0),
  stage public.stage_type,
  is_optional boolean not null default false,
  unique nulls not distinct (bom_id, component_id, stage)
);
create index if not exists bom_items_component_idx on public.bom_items (component_id);
alter table public.bom_items enable row level security;
comment on table public.bom_items is 'What a recipe takes, and at which stage it is used.';
comment on column public.bom_items.is_optional is 'When there is none, the cake is made without.';

-- Functions, internal
create or replace function app.save_item(p_kind text, p_id uuid, p_fields jsonb)
returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_new public.inventory_items := jsonb_populate_record(null::public.inventory_items, p_fields);
  v_id uuid := coalesce(p_id, gen_random_uuid());
  v_constraint text;
begin
  begin
    if p_id is null then
      insert into public.inventory_items (
        id, kind, sku, title, alt_title, description, category, uom, product_match,
        shopify_variant_id, shopify_product_id_1, shopify_product_id_2, min_stock, is_active
      )
      values (
        v_id, p_kind,
        coalesce(btrim(v_new.sku), case when p_kind = 'topper' then 'topper-' || v_id end),
        btrim(v_new.title), nullif(btrim(v_new.alt_title), ''), nullif(v_new.description, ''),
        coalesce(v_new.category, case when p_kind = 'topper' then 'topper' else 'other' end),
        coalesce(v_new.uom, 'each'), nullif(btrim(v_new.product_match), ''),
        nullif(v_new.shopify_variant_id, ''), nullif(v_new.shopify_product_id_1, ''),
        nullif(v_new.shopify_product_id_2, ''),
        coalesce(v_new.min_stock, case when p_kind = 'component' then 0 else 5 end),
        coalesce(v_new.is_active, true)
      );
    else
      update public.inventory_items as items
      set
        sku = coalesce(btrim(v_new.sku), items.sku),
        title = coalesce(btrim(v_new.title), items.title),
        alt_title = nullif(btrim(coalesce(v_new.alt_title, items.alt_title)), ''),
        description = nullif(coalesce(v_new.description, items.description), ''),
        category = coalesce(v_new.category, items.category),
        uom = coalesce(v_new.uom, items.uom),
        product_match = nullif(btrim(coalesce(v_new.product_match, items.product_match)), ''),
        shopify_variant_id
        = nullif(coalesce(v_new.shopify_variant_id, items.shopify_variant_id), ''),
        shopify_product_id_1
        = nullif(coalesce(v_new.shopify_product_id_1, items.shopify_product_id_1), ''),
        shopify_product_id_2
        = nullif(coalesce(v_new.shopify_product_id_2, items.shopify_product_id_2), ''),
        min_stock = coalesce(v_new.min_stock, items.min_stock),
        is_active = coalesce(v_new.is_active, items.is_active)
      where items.id = p_id and items.kind = p_kind;
      if not found then
        perform app.fail('NOT_FOUND', format('No such %s.', p_kind), jsonb_build_object('id', p_id));
      end if;
    end if;
  exception
    when unique_violation then
      perform app.fail(
        'CONFLICT', 'Another item has this SKU.', jsonb_build_object('sku', v_new.sku)
      );
    when integrity_constraint_violation then
      get stacked diagnostics v_constraint = constraint_name;
      perform app.fail(
        'BAD_INPUT', format('That makes no %s.', p_kind),
        jsonb_build_object('constraint', v_constraint)
      );
  end;
  if v_new.is_active = false and exists (
    select from public.bom_items as parts
    inner join public.boms as boms on boms.id = parts.bom_id
    where parts.component_id = v_id and boms.is_active
  ) then
    perform app.fail(
      'CONFLICT', 'A recipe needs it.', jsonb_build_object('id', v_id, 'recipes', (
        select jsonb_agg(distinct boms.product_title)
        from public.bom_items as parts
        inner join public.boms as boms on boms.id = parts.bom_id
        where parts.component_id = v_id and boms.is_active
      ))
    );
  end if;
  perform app.audit('save_' || p_kind, null, v_id::text, jsonb_strip_nulls(p_fields));
  return v_id;
end;
$$;
comment on function app.save_item is
'Make an item, or change the one of this id: fields that are null stay, an empty text clears. Never touches stock.

Errors: NOT_FOUND, CONFLICT (the SKU is taken, or a recipe needs what is being retired), BAD_INPUT.';

create or replace function app.lock_bom(p_id uuid)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text;
begin
  select boms.store into v_store from public.boms as boms where boms.id = p_id for no key update;
  if not found then
    perform app.fail('NOT_FOUND', 'No such recipe.', jsonb_build_object('id', p_id));
  end if;
  perform app.require('Admin', v_store);
  return v_store;
end;
$$;
comment on function app.lock_bom is
'Lock a recipe for an Admin of its store, and say which that is. Errors: NOT_FOUND, PERMISSION_DENIED.';

-- Functions, public
create or replace function public.upsert_component(
  p_id uuid default null, p_sku text default null, p_name text default null,
  p_description text default null, p_category text default null, p_min_stock numeric default null,
  p_unit text default null, p_is_active boolean default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  return app.save_item('component', p_id, jsonb_build_object(
    'sku', p_sku, 'title', p_name, 'description', p_description, 'category', p_category,
    'min_stock', app.checked_quantity(p_min_stock), 'uom', p_unit, 'is_active', p_is_active
  ));
end;
$$;
comment on function public.upsert_component is
'Make a component, or change the one of this id; its id. Never touches stock.

Audited. Null leaves a field as it is, an empty description clears it. New ones: category other, unit each, min_stock 0.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken; or a recipe needs what is being retired).';
grant execute on function public.upsert_component to authenticated;

create or replace function public.upsert_accessory(
  p_id uuid default null, p_sku text default null, p_name text default null,
  p_category text default null, p_product_match text default null,
  p_min_stock numeric default null, p_is_active boolean default null,
  p_shopify_variant_id text default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  return app.save_item('accessory', p_id, jsonb_build_object(
    'sku', p_sku, 'title', p_name, 'category', p_category, 'product_match', p_product_match,
    'min_stock', app.checked_quantity(p_min_stock), 'is_active', p_is_active,
    'shopify_variant_id', p_shopify_variant_id
  ));
end;
$$;
comment on function public.upsert_accessory is
'Make an accessory, or change the one of this id; its id. Never touches stock.

Audited. Null leaves a field as it is, an empty product_match or variant clears it. New ones: min_stock 5.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken; or a recipe needs what is being retired).';
grant execute on function public.upsert_accessory to authenticated;

create or replace function public.upsert_cake_topper(
  p_id uuid default null, p_name_1 text default null, p_name_2 text default null,
  p_min_stock numeric default null, p_shopify_product_id_1 text default null,
  p_shopify_product_id_2 text default null, p_is_active boolean default null,
  p_sku text default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  return app.save_item('topper', p_id, jsonb_build_object(
    'title', p_name_1, 'alt_title', p_name_2, 'min_stock', app.checked_quantity(p_min_stock),
    'shopify_product_id_1', p_shopify_product_id_1,
    'shopify_product_id_2', p_shopify_product_id_2, 'is_active', p_is_active, 'sku', p_sku
  ));
end;
$$;
comment on function public.upsert_cake_topper is
'Make a cake topper, or change the one of this id; its id. Never touches stock.

Audited. Its names are the titles of the cakes it comes with. Null leaves a field as it is, an empty name_2 or product clears it. New ones: min_stock 5, a SKU of their own unless p_sku gives one.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the SKU is taken; or a recipe needs what is being retired).';
grant execute on function public.upsert_cake_topper to authenticated;

create or replace function public.delete_component(p_id uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.save_item('component', p_id, '{"is_active": false}');
  return true;
end;
$$;
comment on function public.delete_component is
'Retire a component: it stays in the ledger and leaves the lists. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs it).';
grant execute on function public.delete_component to authenticated;

create or replace function public.soft_delete_accessory(p_id uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.save_item('accessory', p_id, '{"is_active": false}');
  return true;
end;
$$;
comment on function public.soft_delete_accessory is
'Retire an accessory: it stays in the ledger, and orders no longer match it. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs it).';
grant execute on function public.soft_delete_accessory to authenticated;

create or replace function public.soft_delete_cake_topper(p_id uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.save_item('topper', p_id, '{"is_active": false}');
  return true;
end;
$$;
comment on function public.soft_delete_cake_topper is
'Retire a cake topper: it stays in the ledger, and orders no longer match it. Audited.

Role: Admin. Errors: NOT_FOUND, CONFLICT (a recipe needs it).';
grant execute on function public.soft_delete_cake_topper to authenticated;

create or replace function public.get_components(
  p_category text default null, p_active_only boolean default true, p_search text default null
)
returns table (
  id uuid, sku text, name text, description text, category text, unit text, current_stock numeric,
  min_stock numeric, is_active boolean, is_low_stock boolean, created_at timestamptz,
  updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    items.id, items.sku, items.title, items.description, items.category, items.uom,
    items.on_hand::numeric, items.min_stock::numeric, items.is_active,
    items.on_hand < items.min_stock, items.created_at, items.updated_at
  from public.inventory_items as items
  where items.kind = 'component'
  and (p_category is null or items.category = p_category)
  and (items.is_active or p_active_only is false)
  and strpos(lower(items.title || ' ' || items.sku), lower(coalesce(p_search, ''))) > 0
  order by items.title, items.id;
end;
$$;
comment on function public.get_components is
'Components by name; p_search looks into name and SKU.

Role: Staff.';
grant execute on function public.get_components to authenticated;

create or replace function public.get_low_stock_components()
returns table (
  id uuid, sku text, name text, category text, unit text, current_stock numeric,
  min_stock numeric, shortage numeric
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    items.id, items.sku, items.title, items.category, items.uom, items.on_hand::numeric,
    items.min_stock::numeric, items.min_stock - items.on_hand
  from public.inventory_items as items
  where items.kind = 'component' and items.is_active and items.on_hand < items.min_stock
  order by items.min_stock - items.on_hand desc, items.title, items.id;
end;
$$;
comment on function public.get_low_stock_components is
'Active components below their minimum, the biggest shortage first.

Role: Staff.';
grant execute on function public.get_low_stock_components to authenticated;

create or replace function public.get_accessories(
  p_category text default null, p_active_only boolean default true
)
returns table (
  id uuid, sku text, name text, category text, product_match text, shopify_variant_id text,
  current_stock numeric, min_stock numeric, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    items.id, items.sku, items.title, items.category, items.product_match,
    items.shopify_variant_id, items.on_hand::numeric, items.min_stock::numeric, items.is_active,
    items.on_hand > 0 and items.on_hand < items.min_stock, items.on_hand = 0, items.created_at,
    items.updated_at
  from public.inventory_items as items
  where items.kind = 'accessory'
  and (p_category is null or items.category = p_category)
  and (items.is_active or p_active_only is false)
  order by items.title, items.id;
end;
$$;
comment on function public.get_accessories is
'Accessories by name. Low is above none and below the minimum.

Role: Staff.';
grant execute on function public.get_accessories to authenticated;

create or replace function public.get_accessories_needing_sync()
returns table (
  id uuid, sku text, name text, category text, product_match text, shopify_variant_id text,
  current_stock numeric, min_stock numeric, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    listed.id, listed.sku, listed.name, listed.category, listed.product_match,
    listed.shopify_variant_id, listed.current_stock, listed.min_stock, listed.is_active,
    listed.is_low_stock, listed.is_out_of_stock, listed.created_at, listed.updated_at
  from public.get_accessories() as listed
  where listed.is_out_of_stock
  order by listed.name, listed.id;
end;
$$;
comment on function public.get_accessories_needing_sync is
'Active accessories that are out of stock. The push to the shops is queued when stock moves.

Role: Staff.';
grant execute on function public.get_accessories_needing_sync to authenticated;

create or replace function public.get_cake_toppers(p_active_only boolean default true)
returns table (
  id uuid, name_1 text, name_2 text, sku text, current_stock numeric, min_stock numeric,
  shopify_product_id_1 text, shopify_product_id_2 text, is_active boolean, is_low_stock boolean,
  is_out_of_stock boolean, created_at timestamptz, updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    items.id, items.title, items.alt_title, items.sku, items.on_hand::numeric,
    items.min_stock::numeric, items.shopify_product_id_1, items.shopify_product_id_2,
    items.is_active, items.on_hand > 0 and items.on_hand < items.min_stock, items.on_hand = 0,
    items.created_at, items.updated_at
  from public.inventory_items as items
  where items.kind = 'topper' and (items.is_active or p_active_only is false)
  order by items.title, items.id;
end;
$$;
comment on function public.get_cake_toppers is
'Cake toppers by name. Low is above none and below the minimum.

Role: Staff.';
grant execute on function public.get_cake_toppers to authenticated;

create or replace function public.get_accessory_keywords(
  p_search text default null, p_is_active boolean default null
)
returns table (
  id uuid, keyword text, component_id uuid, component_name text, component_sku text,
  priority integer, match_type text, is_active boolean, created_at timestamptz,
  updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    words.id, words.keyword, words.component_id, items.title, items.sku, words.priority,
    words.match_type, words.is_active, words.created_at, words.updated_at
  from public.accessory_keywords as words
  inner join public.inventory_items as items on items.id = words.component_id
  where (p_is_active is null or words.is_active = p_is_active)
  and strpos(lower(words.keyword || ' ' || items.title), lower(coalesce(p_search, ''))) > 0
  order by words.priority desc, length(words.keyword) desc, words.keyword, words.id;
end;
$$;
comment on function public.get_accessory_keywords is
'Keywords in the order they are tried; p_search looks into keyword and item.

Role: Staff.';
grant execute on function public.get_accessory_keywords to authenticated;

create or replace function public.upsert_accessory_keyword(
  p_keyword text default null, p_component_id uuid default null, p_id uuid default null,
  p_priority integer default null, p_match_type text default null,
  p_is_active boolean default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := coalesce(p_id, gen_random_uuid());
begin
  perform app.require('Admin');
  begin
    if p_id is null then
      insert into public.accessory_keywords (
        id, keyword, component_id, priority, match_type, is_active
      )
      values (
        v_id, btrim(p_keyword), p_component_id, coalesce(p_priority, 0),
        coalesce(p_match_type, 'contains'), coalesce(p_is_active, true)
      );
    else
      update public.accessory_keywords as words
      set
        keyword = coalesce(btrim(p_keyword), words.keyword),
        component_id = coalesce(p_component_id, words.component_id),
        priority = coalesce(p_priority, words.priority),
        match_type = coalesce(p_match_type, words.match_type),
        is_active = coalesce(p_is_active, words.is_active)
      where words.id = p_id;
      if not found then
        perform app.fail('NOT_FOUND', 'No such keyword.', jsonb_build_object('id', p_id));
      end if;
    end if;
  exception
    when unique_violation then
      perform app.fail('CONFLICT', 'Another item has this keyword.');
    when foreign_key_violation then
      perform app.fail(
        'NOT_FOUND', 'No such item.', jsonb_build_object('component_id', p_component_id)
      );
    when integrity_constraint_violation then
      perform app.fail('BAD_INPUT', 'That makes no keyword.');
  end;
  perform app.audit('save_keyword', null, v_id::text, jsonb_strip_nulls(jsonb_build_object(
    'keyword', p_keyword, 'component_id', p_component_id, 'priority', p_priority,
    'match_type', p_match_type, 'is_active', p_is_active
  )));
  return v_id;
end;
$$;
comment on function public.upsert_accessory_keyword is
'Make a keyword, or change the one of this id; its id.

Audited. Null leaves a field as it is. New ones: priority 0, contains. One active keyword of a kind belongs to one item.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT.';
grant execute on function public.upsert_accessory_keyword to authenticated;

create or replace function public.get_boms(
  p_store text default null, p_active_only boolean default true, p_search text default null
)
returns table (
  id uuid, product_title text, store text, description text, shopify_product_id text, sku text,
  is_active boolean, items jsonb, created_at timestamptz, updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := nullif(p_store, 'both');
  v_caller app.caller := app.require('Staff', v_store);
begin
  return query
  select
    boms.id, boms.product_title, coalesce(boms.store, 'both'), boms.description,
    boms.shopify_product_id, boms.sku, boms.is_active,
    coalesce(
      (
        select jsonb_agg(
          jsonb_build_object(
            'id', parts.id, 'component_id', parts.component_id, 'component_name', items.title,
            'component_sku', items.sku, 'quantity_required', parts.quantity_required,
            'stage', parts.stage, 'is_optional', parts.is_optional
          ) order by parts.stage, items.title, parts.id
        )
        from public.bom_items as parts
        inner join public.inventory_items as items on items.id = parts.component_id
        where parts.bom_id = boms.id
      ), '[]'
    ),
    boms.created_at, boms.updated_at
  from public.boms as boms
  where (boms.store is null or boms.store = any(v_caller.stores))
  and (boms.store is null or v_store is null or boms.store = v_store)
  and (boms.is_active or p_active_only is false)
  and strpos(lower(boms.product_title), lower(coalesce(p_search, ''))) > 0
  order by lower(boms.product_title), boms.store nulls last, boms.id;
end;
$$;
comment on function public.get_boms is
'Recipes with their items: of a store and those for both, or of every store the caller works in.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_boms to authenticated;

create or replace function public.upsert_bom(
  p_id uuid default null, p_product_title text default null, p_store text default null,
  p_description text default null, p_is_active boolean default null,
  p_shopify_product_id text default null, p_sku text default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := nullif(p_store, 'both');
  v_id uuid := coalesce(p_id, gen_random_uuid());
begin
  perform app.require('Admin', v_store);
  if p_id is not null then
    perform app.lock_bom(p_id);
  end if;
  begin
    insert into public.boms as boms (
      id, product_title, store, description, is_active, shopify_product_id, sku
    )
    select
      v_id,
      coalesce(btrim(p_product_title), was.product_title),
      case when p_store is null then was.store else v_store end,
      nullif(coalesce(p_description, was.description), ''),
      coalesce(p_is_active, was.is_active, true),
      nullif(coalesce(p_shopify_product_id, was.shopify_product_id), ''),
      nullif(btrim(coalesce(p_sku, was.sku)), '')
    from (values (v_id)) as given (id)
    left join public.boms as was on was.id = given.id
    on conflict (id) do update set
      product_title = excluded.product_title, store = excluded.store,
      description = excluded.description, is_active = excluded.is_active,
      shopify_product_id = excluded.shopify_product_id, sku = excluded.sku;
  exception
    when unique_violation then
      perform app.fail('CONFLICT', 'Another active recipe has this title or SKU.');
    when integrity_constraint_violation then
      perform app.fail('BAD_INPUT', 'That makes no recipe.');
  end;
  perform app.audit('save_bom', v_store, v_id::text, jsonb_strip_nulls(jsonb_build_object(
    'product_title', p_product_title, 'store', p_store, 'description', p_description,
    'is_active', p_is_active, 'shopify_product_id', p_shopify_product_id, 'sku', p_sku
  )));
  return v_id;
end;
$$;
comment on function public.upsert_bom is
'Make the header of a recipe, or change the one of this id; its id.

Audited. Null leaves a field as it is, an empty text clears it. Store both: every store.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (another active one has this title or SKU).';
grant execute on function public.upsert_bom to authenticated;

create or replace function public.save_bom_items(p_bom_id uuid, p_items jsonb)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
  v_store text;
begin
  perform app.require('Admin');
  v_store := app.lock_bom(p_bom_id);
  if jsonb_typeof(p_items) is distinct from 'array' then
    perform app.fail('BAD_INPUT', 'The items of a recipe are a list.');
  end if;
  delete from public.bom_items as parts where parts.bom_id = p_bom_id;
  begin
    insert into public.bom_items (bom_id, component_id, quantity_required, stage, is_optional)
    select
      p_bom_id, parts.component_id, parts.quantity_required, nullif(parts.stage, '')::public.stage_type,
      coalesce(parts.is_optional, false)
    from jsonb_to_recordset(p_items) as parts (
      component_id uuid, quantity_required public.stock_quantity, stage text, is_optional boolean
    );
    get diagnostics v_count = row_count;
  exception
    when foreign_key_violation then
      perform app.fail('NOT_FOUND', 'The recipe names an item that is not there.');
    when integrity_constraint_violation or data_exception then
      perform app.fail(
        'BAD_INPUT',
        'Each item has a component, a quantity above 0 and perhaps a stage, and appears once a stage.'
      );
  end;
  perform app.audit(
    'save_bom_items', v_store, p_bom_id::text, jsonb_build_object('items', p_items)
  );
  return v_count;
end;
$$;
comment on function public.save_bom_items is
'Replace the items of a recipe by [{component_id, quantity_required, stage, is_optional}]; how many there are.

Audited. All or nothing. Orders that have taken their stock keep it.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.save_bom_items to authenticated;

create or replace function public.delete_bom(p_id uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.audit('delete_bom', app.lock_bom(p_id), p_id::text);
  update public.boms as boms set is_active = false where boms.id = p_id;
  return true;
end;
$$;
comment on function public.delete_bom is
'Retire a recipe: new orders no longer follow it. Audited.

Role: Admin. Errors: NOT_FOUND.';
grant execute on function public.delete_bom to authenticated;

-- Triggers
create or replace trigger accessory_keywords_set_updated_at
before update on public.accessory_keywords
for each row execute function app.set_updated_at();
create or replace trigger boms_set_updated_at
before update on public.boms
for each row execute function app.set_updated_at();

-- Policies
do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
begin
  if not exists (
    select from pg_policies where policyname = 'accessory_keywords_select_authenticated'
  ) then
    create policy accessory_keywords_select_authenticated on public.accessory_keywords
    for select to authenticated
    using ((select app.is_staff()));
  end if;
  if not exists (select from pg_policies where policyname = 'boms_select_authenticated') then
    create policy boms_select_authenticated on public.boms
    for select to authenticated
    using (
      (select app.is_staff())
      and (store is null or store = any ((select app.my_stores())::text[]))
    );
  end if;
  if not exists (select from pg_policies where policyname = 'bom_items_select_authenticated') then
    create policy bom_items_select_authenticated on public.bom_items
    for select to authenticated
    using (exists (select from public.boms as boms where boms.id = bom_id));
  end if;
end;
$$;

-- Grants
grant select on table public.accessory_keywords, public.boms, public.bom_items to authenticated;

select app.assert_grants();

commit;
