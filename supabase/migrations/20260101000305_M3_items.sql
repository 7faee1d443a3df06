-- M3 items: the items in stock, and the ledger of every change of stock.
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
  on_hand public.stock_quantity not null default 0,
  reserved public.stock_quantity not null default 0,
  buffer public.stock_quantity not null default 0,
  ats numeric(14, 3) not null generated always as (on_hand - reserved - buffer) stored,
  min_stock public.stock_quantity not null default 0,
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  constraint inventory_items_category_check check (
    kind <> 'accessory' or category in ('topper', 'balloon', 'candle', 'other')
  )
) with (fillfactor = 70); -- room for HOT updates: stock changes often
create index if not exists inventory_items_variant_idx
on public.inventory_items (shopify_variant_id) where shopify_variant_id is not null;
alter table public.inventory_items enable row level security;
comment on table public.inventory_items is
'The items in stock: components of cakes, accessories sold with them, cake toppers. All stores share one stock.';
comment on column public.inventory_items.sku is
'The SKU in Shopify and on the shelf. A topper without a SKU of its own gets a generated one.';
comment on column public.inventory_items.alt_title is 'The second name of a topper (name_2).';
comment on column public.inventory_items.product_match is
'Words that find the item in the title of an order line. app.match_item tries them last, with the keywords.';
comment on column public.inventory_items.on_hand is
'The stock that no order has taken. The total of the ledger. Only app.move_stock writes this column.';
comment on column public.inventory_items.reserved is
'The total of the open holds: stock that orders still wait for.';
comment on column public.inventory_items.buffer is 'Stock that is kept back from the shops.';
comment on column public.inventory_items.ats is
'Available to sell. A negative number is the missing quantity, and the shops then get 0.';
grant select on table public.inventory_items to authenticated;

create sequence if not exists public.inventory_txn_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.inventory_txn (
  id bigint primary key default (app.first_id() + nextval('public.inventory_txn_id_seq')),
  item_id uuid not null references public.inventory_items (id),
  kind text not null check (kind in ('adjust', 'deduct', 'restock', 'reconcile')),
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
  constraint inventory_txn_sum_check check (
    change_amount <> 0 and stock_after = stock_before + change_amount
  ),
  constraint inventory_txn_order_check check (
    (kind <> 'deduct' or change_amount < 0) and (kind <> 'restock' or change_amount > 0)
    and num_nonnulls(store, order_gid) = case when kind in ('deduct', 'restock') then 2 else 0 end
  )
);
alter sequence public.inventory_txn_id_seq owned by public.inventory_txn.id;
create index if not exists inventory_txn_item_idx on public.inventory_txn (item_id, id desc);
create index if not exists inventory_txn_order_idx
on public.inventory_txn (store, order_gid, item_id) where store is not null;
alter table public.inventory_txn enable row level security;
comment on table public.inventory_txn is
'The ledger: every change of stock, in order. Append-only. The changes of an item add up to its on_hand.';
comment on column public.inventory_txn.kind is
'adjust: by hand. deduct: taken by an order. restock: given back by an order. reconcile: corrected to the count of a shop.';
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

create or replace function app.move_stock(
  p_item_id uuid, p_change numeric, p_kind text, p_reason text default null,
  p_reference text default null, p_store text default null, p_order_gid text default null,
  p_matched_by text default null
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
  update public.inventory_items as items
  set on_hand = items.on_hand + p_change
  where items.id = p_item_id and items.on_hand + p_change between 0 and 999999999.999
  returning items.on_hand into v_after;
  if not found then
    select items.on_hand into v_after
    from public.inventory_items as items where items.id = p_item_id;
    if not found then
      perform app.not_found('item', 'item_id', p_item_id);
    end if;
    perform app.fail(
      'CONFLICT', case
        when p_change < 0 then format('Only %s in stock; cannot take %s.', v_after, -p_change)
        else format('%s in stock. Adding %s would exceed 999999999.999.', v_after, p_change)
      end,
      jsonb_build_object('item_id', p_item_id, 'stock', v_after, 'change', p_change)
    );
  end if;
  insert into public.inventory_txn (
    item_id, kind, change_amount, stock_before, stock_after, reason, reference, store, order_gid,
    matched_by, actor_id, actor_kind
  )
  values (
    p_item_id, p_kind, p_change, v_after - p_change, v_after, nullif(p_reason, ''),
    nullif(p_reference, ''), p_store, p_order_gid, p_matched_by, v_caller.user_id,
    coalesce(v_caller.kind, 'system')
  );
  if p_change > 0 then -- the trigger on the ledger may have taken stock for holds
    select items.on_hand into v_after
    from public.inventory_items as items where items.id = p_item_id;
  end if;
  return v_after;
end;
$$;
comment on function app.move_stock is
'Changes the stock of an item and writes the ledger row. Returns the stock after the change.

No other function writes stock. New stock fills the holds of waiting orders first. Rejects a change that would leave the stock below zero. A caller that changes several items must change them in the order of their ids. This order prevents deadlocks between callers. Errors: BAD_INPUT, NOT_FOUND, CONFLICT.';

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
end;
$$;

select app.assert_grants();
commit;
