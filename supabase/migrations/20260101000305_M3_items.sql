-- M3 items: the items, their stock at each site, and the ledger of every change of stock.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('public.stock_quantity') is null then
    create domain public.stock_quantity as numeric(12, 3)
    constraint stock_quantity_check check (value between 0 and 999999999.999);
  end if;
end;
$$;
comment on domain public.stock_quantity is
'A quantity from 0 to 999999999.999, with three decimals. NaN is not allowed.';

create table if not exists public.inventory_items (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('component', 'accessory', 'topper')),
  sku app.code not null unique check (sku <> '' and sku = btrim(sku)),
  title app.label not null check (title <> '' and title = btrim(title)),
  alt_title app.label,
  description app.note,
  category app.label not null default 'other',
  uom app.label not null default 'each' check (uom <> ''),
  product_match app.label check (btrim(product_match) <> ''),
  shopify_variant_id app.code,
  shopify_product_id_1 app.code,
  shopify_product_id_2 app.code,
  min_stock public.stock_quantity not null default 0,
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  constraint inventory_items_category_check check (
    kind <> 'accessory' or category in ('topper', 'balloon', 'candle', 'other')
  )
);
create index if not exists inventory_items_variant_idx
on public.inventory_items (shopify_variant_id) where shopify_variant_id is not null;
alter table public.inventory_items enable row level security;
comment on table public.inventory_items is
'The catalog of items: components of cakes, accessories sold with them, cake toppers. All stores share the catalog. Their stock is in site_stock.';
comment on column public.inventory_items.sku is
'The SKU in Shopify and on the shelf. A topper without a SKU of its own gets a generated one.';
comment on column public.inventory_items.alt_title is 'The second name of a topper (name_2).';
comment on column public.inventory_items.product_match is
'Words that find the item in the title of an order line. app.match_item tries them last, with the keywords.';
grant select on table public.inventory_items to authenticated;

create table if not exists public.site_stock (
  item_id uuid not null references public.inventory_items (id),
  site text not null references public.sites (code),
  on_hand public.stock_quantity not null default 0,
  reserved public.stock_quantity not null default 0,
  buffer public.stock_quantity not null default 0,
  ats numeric(14, 3) not null generated always as (on_hand - reserved - buffer) stored,
  primary key (item_id, site)
) with (fillfactor = 70); -- room for HOT updates: stock changes often
create index if not exists site_stock_site_idx on public.site_stock (site);
alter table public.site_stock enable row level security;
comment on table public.site_stock is
'The stock of an item at a site. An item without a row has no stock there.';
comment on column public.site_stock.on_hand is
'The stock that no order has taken. The total of the ledger. Only app.move_stock writes this column.';
comment on column public.site_stock.reserved is
'The total of the open holds: stock that orders still wait for.';
comment on column public.site_stock.buffer is 'Stock that is kept back from the shops.';
comment on column public.site_stock.ats is
'Available to sell. A negative number is the missing quantity, and the shops then get 0.';
grant select on table public.site_stock to authenticated;

create sequence if not exists public.inventory_txn_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.inventory_txn (
  id bigint not null default (app.first_id() + nextval('public.inventory_txn_id_seq')),
  item_id uuid not null,
  site text not null,
  kind text not null check (kind in ('adjust', 'deduct', 'restock', 'reconcile', 'transfer')),
  change_amount numeric(12, 3) not null,
  stock_before public.stock_quantity not null,
  stock_after public.stock_quantity not null,
  reason app.note,
  reference app.code,
  store text references public.stores (code),
  order_gid app.code,
  matched_by app.code,
  actor_id uuid,
  actor_kind text not null check (actor_kind in ('staff', 'service', 'system')),
  at_ts timestamptz not null default app.now(),
  primary key (id, at_ts),
  foreign key (item_id, site) references public.site_stock (item_id, site),
  constraint inventory_txn_sum_check check (
    change_amount <> 0 and stock_after = stock_before + change_amount
  ),
  constraint inventory_txn_order_check check (
    (kind <> 'deduct' or change_amount < 0) and (kind <> 'restock' or change_amount > 0)
    and num_nonnulls(store, order_gid) = case when kind in ('deduct', 'restock') then 2 else 0 end
    and (kind <> 'transfer' or reference is not null)
  )
) partition by range (at_ts);
alter sequence public.inventory_txn_id_seq owned by public.inventory_txn.id;
create index if not exists inventory_txn_item_idx on public.inventory_txn (item_id, site, id desc);
create index if not exists inventory_txn_order_idx
on public.inventory_txn (store, order_gid, item_id) where store is not null;
alter table public.inventory_txn enable row level security;
comment on table public.inventory_txn is
'The ledger: every change of stock, in order and by month. Append-only. The changes of an item at a site add up to its on_hand there.';
comment on column public.inventory_txn.kind is
'adjust: by hand. deduct: taken by an order. restock: given back by an order. reconcile: corrected to the count of a shop. transfer: moved to or from another site. Its two rows have one reference.';
comment on column public.inventory_txn.matched_by is
'How the order was matched to the item: sku, variant, product, name, keyword or recipe.';
comment on column public.inventory_txn.actor_id is
'The account that changed the stock. Null: the service or scheduled work.';

create or replace function app.check_quantity(p_quantity numeric)
returns numeric
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_quantity is not null
    and (p_quantity between 0 and 999999999.999 and p_quantity = round(p_quantity, 3)) is not true
  then
    perform app.fail(
      'BAD_INPUT', 'A quantity must be 0 to 999999999.999, with at most three decimals.',
      jsonb_build_object('quantity', p_quantity::text)
    );
  end if;
  return p_quantity;
end;
$$;
comment on function app.check_quantity is
'Returns the quantity, or null for null. Raises BAD_INPUT when public.stock_quantity cannot hold the exact value.';

create or replace function app.lock_stock(p_item_id uuid, p_site text)
returns public.site_stock
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_stock public.site_stock;
begin
  select stock.* into v_stock
  from public.site_stock as stock
  where stock.item_id = p_item_id and stock.site = p_site for no key update;
  if not found then
    insert into public.site_stock (item_id, site)
    select items.id, p_site from public.inventory_items as items where items.id = p_item_id
    on conflict (item_id, site) do nothing;
    select stock.* into v_stock
    from public.site_stock as stock
    where stock.item_id = p_item_id and stock.site = p_site for no key update;
    if not found then
      perform app.not_found('item', 'item_id', p_item_id);
    end if;
  end if;
  return v_stock;
end;
$$;
comment on function app.lock_stock is
'Locks the stock of an item at a site until this transaction ends. Returns the stock. Raises NOT_FOUND for an unknown item.

A caller that locks several must lock them in the order of item, then site. This order prevents deadlocks between callers.';

create or replace function app.move_stock(
  p_item_id uuid, p_change numeric, p_kind text, p_reason text default null,
  p_reference text default null, p_store text default null, p_order_gid text default null,
  p_matched_by text default null, p_site text default 'main'
)
returns numeric
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.actor();
  v_after numeric;
begin
  if p_change is null or p_change = 0 or p_change <> round(p_change, 3)
    or abs(p_change) > 999999999.999 -- rejects NaN and infinity too
  then
    perform app.fail(
      'BAD_INPUT', 'A change of stock must not be 0 and may have at most three decimals.',
      jsonb_build_object('change', p_change::text)
    );
  end if;
  v_after := (app.lock_stock(p_item_id, p_site)).on_hand + p_change;
  if v_after not between 0 and 999999999.999 then
    perform app.fail(
      'CONFLICT', case
        when p_change < 0
          then format('Only %s in stock; cannot take %s.', v_after - p_change, -p_change)
        else format(
          '%s in stock. Adding %s would exceed 999999999.999.', v_after - p_change, p_change
        )
      end,
      jsonb_build_object(
        'item_id', p_item_id, 'site', p_site, 'stock', v_after - p_change, 'change', p_change
      )
    );
  end if;
  update public.site_stock as stock
  set on_hand = v_after
  where stock.item_id = p_item_id and stock.site = p_site;
  insert into public.inventory_txn (
    item_id, site, kind, change_amount, stock_before, stock_after, reason, reference, store, order_gid,
    matched_by, actor_id, actor_kind
  )
  values (
    p_item_id, p_site, p_kind, p_change, v_after - p_change, v_after, nullif(p_reason, ''),
    nullif(p_reference, ''), p_store, p_order_gid, p_matched_by, v_caller.user_id,
    coalesce(v_caller.kind, 'system')
  );
  if p_change > 0 then -- the trigger on the ledger may have taken stock for holds
    select stock.on_hand into v_after
    from public.site_stock as stock where stock.item_id = p_item_id and stock.site = p_site;
  end if;
  return v_after;
end;
$$;
comment on function app.move_stock is
'Changes the stock of an item at a site and writes the ledger row. Returns the stock after the change.

No other function writes stock. New stock fills the holds of waiting orders first. Rejects a change that would leave the stock below zero. A caller that changes several items must lock them in the order of app.lock_stock. Errors: BAD_INPUT, NOT_FOUND, CONFLICT.';

create or replace function app.stock_at(p_sites text[])
returns table (
  item_id uuid, on_hand numeric, reserved numeric, buffer numeric, ats numeric, site text
)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    items.id, coalesce(sum(stock.on_hand), 0), coalesce(sum(stock.reserved), 0),
    coalesce(sum(stock.buffer), 0), coalesce(sum(stock.ats), 0),
    case when cardinality(p_sites) = 1 then p_sites[1] end
  from public.inventory_items as items
  left join public.site_stock as stock
    on stock.item_id = items.id and stock.site = any(p_sites)
  group by items.id;
$$;
comment on function app.stock_at is
'Returns the stock of every item, added up over these sites. site is null for several sites.';

create or replace function public.ats(p_item public.inventory_items)
returns numeric
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(stock.ats), 0)
  from public.site_stock as stock where stock.item_id = p_item.id;
$$;
comment on function public.ats is
'Returns the quantity of an item that is available to sell, over all sites that the caller may read. The API reads it like a column of inventory_items: select=*,ats.';
grant execute on function public.ats to authenticated;

create or replace function app.save_item(p_kind text, p_id uuid, p_fields jsonb)
returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := coalesce(p_id, gen_random_uuid());
  v_item public.inventory_items;
  v_constraint text;
begin
  perform app.require('Admin');
  perform app.check_quantity((p_fields ->> 'min_stock')::numeric);
  if p_id is null then
    v_item := jsonb_populate_record(v_item, jsonb_build_object(
      'sku', case when p_kind = 'topper' then 'topper-' || v_id end, 'uom', 'each',
      'category', case when p_kind = 'topper' then 'topper' else 'other' end,
      'min_stock', case when p_kind = 'component' then 0 else 5 end, 'is_active', true
    ));
  else
    select items.* into v_item
    from public.inventory_items as items
    where items.id = p_id and items.kind = p_kind for no key update;
    if not found then
      perform app.not_found(p_kind, 'id', p_id);
    end if;
  end if;
  begin
    v_item := jsonb_populate_record(v_item, jsonb_strip_nulls(p_fields));
    insert into public.inventory_items (
      id, kind, sku, title, alt_title, description, category, uom, product_match,
      shopify_variant_id, shopify_product_id_1, shopify_product_id_2, min_stock, is_active
    )
    values (
      v_id, p_kind, app.clean_name(v_item.sku), app.clean_name(v_item.title),
      app.clean_name(v_item.alt_title), nullif(v_item.description, ''),
      coalesce(app.clean_name(v_item.category), ''), app.clean_name(v_item.uom),
      app.clean_name(v_item.product_match), nullif(v_item.shopify_variant_id, ''),
      nullif(v_item.shopify_product_id_1, ''), nullif(v_item.shopify_product_id_2, ''),
      v_item.min_stock, v_item.is_active
    )
    on conflict (id) do update set
      sku = excluded.sku, title = excluded.title, alt_title = excluded.alt_title,
      description = excluded.description, category = excluded.category, uom = excluded.uom,
      product_match = excluded.product_match, shopify_variant_id = excluded.shopify_variant_id,
      shopify_product_id_1 = excluded.shopify_product_id_1,
      shopify_product_id_2 = excluded.shopify_product_id_2, min_stock = excluded.min_stock,
      is_active = excluded.is_active;
  exception
    when unique_violation then
      perform app.fail(
        'CONFLICT', 'Another item has this SKU. Choose another SKU.',
        jsonb_build_object('sku', v_item.sku)
      );
    when integrity_constraint_violation then
      get stacked diagnostics v_constraint = constraint_name;
      perform app.fail(
        'BAD_INPUT',
        format('A field of the %s is missing or invalid. Check SKU, name, unit, category.', p_kind),
        jsonb_build_object('constraint', v_constraint)
      );
  end;
  perform app.audit('save_' || p_kind, null, v_id::text, jsonb_strip_nulls(p_fields));
  return v_id;
end;
$$;
comment on function app.save_item is
'Creates an item, or updates the item with this id, for an Admin. Returns its id. Never changes stock.

A null field stays unchanged. An empty text clears an optional field.

Errors: NOT_FOUND, CONFLICT (the SKU is taken, or a recipe needs the item), BAD_INPUT.';

create or replace trigger inventory_items_set_updated_at before update on public.inventory_items
for each row execute function app.set_updated_at();
create or replace trigger inventory_txn_append_only
before update or delete or truncate on public.inventory_txn
for each statement execute function app.append_only();

do $$
begin
  if not exists (
    select from pg_policies where policyname = 'inventory_items_select_authenticated'
  ) then
    create policy inventory_items_select_authenticated on public.inventory_items
    for select to authenticated
    using ((select app.is_staff()));
  end if;
  if not exists (
    select from pg_policies where policyname = 'site_stock_select_authenticated'
  ) then
    create policy site_stock_select_authenticated on public.site_stock
    for select to authenticated
    using ((select app.is_staff()) and site = any((select app.my_sites())::text[]));
  end if;
end;
$$;

select app.register_monthly_table('inventory_txn', 84);

select app.assert_grants();
commit;
