-- M3 recipes: the items that one piece of a product takes from the stock.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.boms (
  id uuid primary key default gen_random_uuid(),
  product_title app.label not null
  check (product_title <> '' and product_title = btrim(product_title)),
  sku app.code check (sku <> '' and sku = btrim(sku)),
  shopify_product_id app.code,
  store text references public.stores (code),
  description app.note,
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists boms_title_key
on public.boms (store, lower(product_title)) nulls not distinct where is_active;
create unique index if not exists boms_sku_key
on public.boms (store, sku) nulls not distinct where is_active and sku is not null;
create index if not exists boms_store_idx on public.boms (store);
alter table public.boms enable row level security;
comment on table public.boms is
'Recipes (bills of material): the items that one piece of a product takes from the stock. A recipe is found by SKU, product or exact title.';
comment on column public.boms.store is
'Null: the recipe serves every store. Among equal matches, the recipe of the store wins.';
grant select on table public.boms to authenticated;

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
comment on table public.bom_items is 'The items of a recipe, and the stage that uses each.';
comment on column public.bom_items.is_optional is
'True: the cake is made without the item when the stock is short.';
grant select on table public.bom_items to authenticated;

create or replace function app.lock_recipe(p_id uuid)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text;
begin
  perform app.require('Admin');
  select boms.store into v_store from public.boms as boms where boms.id = p_id for no key update;
  if not found then
    perform app.not_found('recipe', 'id', p_id);
  end if;
  perform app.require('Admin', v_store);
  return v_store;
end;
$$;
comment on function app.lock_recipe is
'Locks a recipe for an Admin of its store. Returns the store, or null for a shared recipe. Errors: NOT_FOUND, PERMISSION_DENIED.';

create or replace function app.require_no_loop(p_bom_id uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_sku text := (
    select items.sku
    from public.boms as boms
    inner join public.bom_items as parts on parts.bom_id = boms.id
    inner join public.inventory_items as items on items.id = parts.component_id
    where boms.id = p_bom_id and items.sku = boms.sku
    limit 1
  );
begin
  if v_sku is not null then
    perform app.fail(
      'BAD_INPUT', format('A recipe must not contain its own product %s.', v_sku),
      jsonb_build_object('sku', v_sku)
    );
  end if;
end;
$$;
comment on function app.require_no_loop is
'Raises BAD_INPUT if an item of the recipe has the SKU of the recipe.';

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
  v_caller app.caller := app.require('Staff', nullif(p_store, 'both'));
begin
  perform app.check_length('p_search', p_search, 200);
  return query
  select
    boms.id, boms.product_title::text, coalesce(boms.store, 'both'), boms.description::text,
    boms.shopify_product_id::text, boms.sku::text, boms.is_active,
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
  and (boms.is_active or p_active_only is false)
  and strpos(lower(boms.product_title), lower(coalesce(p_search, ''))) > 0
  order by lower(boms.product_title), boms.store nulls last, boms.id;
end;
$$;
comment on function public.get_boms is
'Returns the recipes of p_store and those for every store, each with its items. Without p_store, returns the recipes of all stores of the caller.

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
    perform app.lock_recipe(p_id);
  end if;
  begin
    insert into public.boms (
      id, product_title, store, description, is_active, shopify_product_id, sku
    )
    select
      v_id, app.clean_name(coalesce(p_product_title, was.product_title)),
      case when p_store is null then was.store else v_store end,
      nullif(coalesce(p_description, was.description), ''),
      coalesce(p_is_active, was.is_active, true),
      nullif(coalesce(p_shopify_product_id, was.shopify_product_id), ''),
      app.clean_name(coalesce(p_sku, was.sku))
    from (values (v_id)) as given (id)
    left join public.boms as was on was.id = given.id
    on conflict (id) do update set
      product_title = excluded.product_title, store = excluded.store,
      description = excluded.description, is_active = excluded.is_active,
      shopify_product_id = excluded.shopify_product_id, sku = excluded.sku;
  exception
    when unique_violation then
      perform app.fail('CONFLICT', 'Another active recipe has this title or SKU. Change that one.');
    when integrity_constraint_violation then
      perform app.fail('BAD_INPUT', 'A recipe needs a title of at most 300 characters, and an SKU of at most 200.');
  end;
  perform app.require_no_loop(v_id);
  perform app.audit('save_bom', v_store, v_id::text, jsonb_strip_nulls(jsonb_build_object(
    'product_title', p_product_title, 'store', p_store, 'description', p_description,
    'is_active', p_is_active, 'shopify_product_id', p_shopify_product_id, 'sku', p_sku
  )));
  return v_id;
end;
$$;
comment on function public.upsert_bom is
'Creates a recipe without items, or updates the recipe with this id. Returns its id.

Audited. A null field stays unchanged. An empty description, product or SKU clears that field. Store both means every store.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (another active recipe has this title or SKU).';
grant execute on function public.upsert_bom to authenticated;

create or replace function public.save_bom_items(p_bom_id uuid, p_items jsonb)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.lock_recipe(p_bom_id);
begin
  if jsonb_typeof(p_items) is distinct from 'array' then
    perform app.fail('BAD_INPUT', 'p_items must be a JSON array.');
  end if;
  delete from public.bom_items as parts where parts.bom_id = p_bom_id;
  begin
    insert into public.bom_items (bom_id, component_id, quantity_required, stage, is_optional)
    select
      p_bom_id, parts.component_id, parts.quantity_required,
      nullif(parts.stage, '')::public.stage_type, coalesce(parts.is_optional, false)
    from jsonb_to_recordset(p_items) as parts (
      component_id uuid, quantity_required public.stock_quantity, stage text, is_optional boolean
    );
  exception
    when foreign_key_violation then
      perform app.fail('NOT_FOUND', 'An item does not exist. Check each component_id.');
    when integrity_constraint_violation or data_exception then
      perform app.fail(
        'BAD_INPUT',
        'An item needs a component_id and a quantity above 0. Give no stage twice for an item.'
      );
  end;
  perform app.require_no_loop(p_bom_id);
  perform app.audit(
    'save_bom_items', v_store, p_bom_id::text, jsonb_build_object('items', p_items)
  );
  return jsonb_array_length(p_items);
end;
$$;
comment on function public.save_bom_items is
'Replaces the items of a recipe with [{component_id, quantity_required, stage, is_optional}]. Returns the number of items.

Audited. Saves all items or none. An open order keeps the stock that it has taken until the order changes, or resettle_order settles it.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.save_bom_items to authenticated;

create or replace function public.delete_bom(p_id uuid)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.audit('delete_bom', app.lock_recipe(p_id), p_id::text);
  update public.boms as boms set is_active = false where boms.id = p_id returning true;
$$;
comment on function public.delete_bom is
'Retires a recipe. New orders no longer use the recipe. Audited.

Role: Admin. Errors: NOT_FOUND.';
grant execute on function public.delete_bom to authenticated;

create or replace function app.find_recipe(p_store text, p_line jsonb)
returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select boms.id
    from public.boms as boms
    where boms.is_active and (boms.store is null or boms.store = p_store) and (
      boms.sku = p_line ->> 'sku'
      or boms.shopify_product_id = p_line ->> 'product_id'
      or lower(boms.product_title) = lower(btrim(p_line ->> 'title'))
    )
    order by
      coalesce(boms.sku = p_line ->> 'sku', false) desc,
      coalesce(boms.shopify_product_id = p_line ->> 'product_id', false) desc,
      boms.store nulls last, boms.id
    limit 1
  );
end;
$$;
comment on function app.find_recipe is
'Returns the active recipe of an order line, or null. Tries SKU, then product, then exact title. Among equal matches, the recipe of the store wins.';

create or replace function app.forbid_retiring_part()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_stores text[] := (app.actor()).stores;
  v_recipes jsonb := (
    select coalesce(
      jsonb_agg(distinct boms.product_title) filter (
        where boms.store is null or boms.store = any(v_stores)
      ), '[]'
    )
    from public.bom_items as parts
    inner join public.boms as boms on boms.id = parts.bom_id
    where parts.component_id = new.id and boms.is_active
    having count(*) > 0
  );
begin
  if v_recipes is not null then
    perform app.fail(
      'CONFLICT', format('A recipe needs %s. Change or retire the recipe first.', new.title),
      jsonb_build_object('id', new.id, 'recipes', v_recipes)
    );
  end if;
  return null;
end;
$$;
comment on function app.forbid_retiring_part is
'Trigger: rejects retiring an item that an active recipe needs. Raises CONFLICT. DETAIL names the recipes that the caller may read.';

create or replace trigger inventory_items_forbid_retiring_part
after update of is_active on public.inventory_items
for each row when (old.is_active and not new.is_active)
execute function app.forbid_retiring_part();
create or replace trigger boms_set_updated_at before update on public.boms
for each row execute function app.set_updated_at();

do $$
begin
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

select app.assert_grants();
commit;
