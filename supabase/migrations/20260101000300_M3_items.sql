-- M3 items: what is in stock, and the one ledger of how it got there.
--
-- Needs: M0 M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Types
do $$
begin
  if to_regtype('public.stock_quantity') is null then
    create domain public.stock_quantity as numeric(12, 3)
    constraint stock_quantity_check check (value between 0 and 999999999.999);
  end if;
end;
$$;
comment on domain public.stock_quantity is
'How much of something: to the thousandth, never negative, never NaN.';

-- Tables
create table if not exists public.inventory_items (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('component', 'accessory', 'topper')),
  sku text not null unique check (length(sku) between 1 and 200 and sku = btrim(sku)),
  title text not null check (title <> '' and title = btrim(title)),
  alt_title text,
  description text,
  category text not null default 'other',
  uom text not null default 'each' check (uom <> ''),
  product_match text check (btrim(product_match) <> ''),
  shopify_variant_id text,
  shopify_product_id_1 text,
  shopify_product_id_2 text,
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
) with (fillfactor = 70); -- stock changes often, and no index holds it: room for the next version
create index if not exists inventory_items_variant_idx
on public.inventory_items (shopify_variant_id)
where shopify_variant_id is not null;
alter table public.inventory_items enable row level security;
comment on table public.inventory_items is
'Everything counted: components of cakes, accessories sold with them, cake toppers. One stock for all stores.';
comment on column public.inventory_items.sku is
'What Shopify and the shelf call it. A topper that sells under no SKU of its own has a made-up one.';
comment on column public.inventory_items.alt_title is 'The second name of a topper (name_2).';
comment on column public.inventory_items.product_match is
'Words by which a line of an order is known to be this, when neither SKU nor variant tells.';
comment on column public.inventory_items.on_hand is
'What is on the shelf and promised to nobody yet. Always the sum of the ledger; app.move_stock alone writes it.';
comment on column public.inventory_items.reserved is
'What orders still wait for: the sum of the open reservation_holds.';
comment on column public.inventory_items.buffer is 'Kept back from the shops.';
comment on column public.inventory_items.ats is
'Available to sell. Below zero: so much is missing. The shops are told 0 then.';

create table if not exists public.inventory_txn (
  id bigint generated always as identity primary key,
  item_id uuid not null references public.inventory_items (id),
  kind text not null check (kind in ('adjust', 'deduct', 'restock', 'reconcile')),
  change_amount numeric(12, 3) not null,
  stock_before public.stock_quantity not null,
  stock_after public.stock_quantity not null,
  reason text,
  reference text,
  store text references public.stores (code),
  order_gid text,
  matched_by text,
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
create index if not exists inventory_txn_item_idx on public.inventory_txn (item_id, id desc);
-- an order takes an item once and gives it back once, whoever asks how often
create unique index if not exists inventory_txn_order_key
on public.inventory_txn (store, order_gid, item_id, kind)
where store is not null;
alter table public.inventory_txn enable row level security;
comment on table public.inventory_txn is
'The ledger: each change of stock, in order. Append-only; the changes of an item add up to its on_hand.';
comment on column public.inventory_txn.kind is
'adjust: by hand. deduct, restock: taken by an order, given back when it was cancelled. reconcile: to what a shop counts.';
comment on column public.inventory_txn.matched_by is
'How the order was known to need it: sku, variant, product, name, keyword or recipe.';
comment on column public.inventory_txn.actor_id is
'The account. Null: the service or scheduled work.';

-- Functions, internal
create or replace function app.checked_quantity(p_quantity numeric)
returns numeric
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_quantity is not null
    and (p_quantity between 0 and 999999999.999 and p_quantity = round(p_quantity, 3)) is not true
  then
    perform app.fail(
      'BAD_INPUT', 'A quantity is a number from 0 up, to the thousandth.',
      jsonb_build_object('quantity', p_quantity::text)
    );
  end if;
  return p_quantity;
end;
$$;
comment on function app.checked_quantity is
'The quantity, or null. Raises BAD_INPUT when it is none that public.stock_quantity could hold.';

create or replace function app.push_stock()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.enqueue('inventory_push', jsonb_build_object('sku', new.sku), new.sku);
  return null;
end;
$$;
comment on function app.push_stock is
'Trigger: the shops have to hear how much of an item there is to sell. One waiting job per SKU; the worker reads the quantity when it runs.';

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
  v_reserved numeric;
begin
  if p_change is null or p_change = 0 or p_change <> round(p_change, 3)
    or abs(p_change) > 999999999.999 -- NaN and infinity too
  then
    perform app.fail(
      'BAD_INPUT', 'A change of stock is a number other than 0, to the thousandth.',
      jsonb_build_object('change', p_change::text)
    );
  end if;

  update public.inventory_items as items
  set on_hand = items.on_hand + p_change
  where items.id = p_item_id and items.on_hand + p_change between 0 and 999999999.999
  returning items.on_hand, items.reserved into v_after, v_reserved;
  if not found then
    select items.on_hand into v_after
    from public.inventory_items as items where items.id = p_item_id;
    if not found then
      perform app.fail('NOT_FOUND', 'No such item.', jsonb_build_object('item_id', p_item_id));
    end if;
    perform app.fail(
      'CONFLICT', format('There are %s of it: %s more cannot be.', v_after, p_change),
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
  if p_change > 0 and v_reserved > 0 then
    perform app.fill_holds(p_item_id);
    select items.on_hand into v_after
    from public.inventory_items as items where items.id = p_item_id;
  end if;
  return v_after;
end;
$$;
comment on function app.move_stock is
'The one writer of stock: changes an item and writes the ledger row; answers with the stock there is then.

Never below zero, never clamped. What comes in goes first to orders that wait for it. To move several items, go in the order of their SKUs, which is the order of the jobs too. Errors: BAD_INPUT, NOT_FOUND, CONFLICT.';

create or replace function app.adjust_stock(
  p_kind text, p_item_id uuid, p_change numeric, p_reason text, p_reference text, p_created_by text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_before numeric;
  v_title text;
  v_alt_title text;
begin
  if nullif(p_created_by, '') <> (app.actor()).user_id::text then
    perform app.fail('PERMISSION_DENIED', 'Nobody changes stock in the name of somebody else.');
  end if;
  select items.on_hand, items.title, items.alt_title into v_before, v_title, v_alt_title
  from public.inventory_items as items
  where items.id = p_item_id and items.kind = p_kind
  for no key update;
  if not found then
    perform app.fail(
      'NOT_FOUND', format('No such %s.', p_kind), jsonb_build_object('item_id', p_item_id)
    );
  end if;
  perform app.move_stock(p_item_id, p_change, 'adjust', p_reason, p_reference);
  return jsonb_build_object(
    'success', true, 'title', v_title, 'alt_title', v_alt_title,
    'before', v_before, 'after', v_before + p_change, 'change', p_change
  );
end;
$$;
comment on function app.adjust_stock is
'Change the stock of an item of this kind by hand; after is the stock before orders that wait took theirs.

Errors: PERMISSION_DENIED (p_created_by is not the caller), NOT_FOUND, BAD_INPUT, CONFLICT (below zero).';

-- Functions, public
create or replace function public.adjust_component_stock(
  p_component_id uuid, p_change numeric, p_reason text default null,
  p_reference text default null, p_created_by text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb;
begin
  perform app.require('Supervisor');
  v_done := app.adjust_stock(
    'component', p_component_id, p_change, p_reason, p_reference, p_created_by
  );
  return v_done - '{title,alt_title}'::text[]
    || jsonb_build_object('component', v_done -> 'title');
end;
$$;
comment on function public.adjust_component_stock is
'Count a component up or down: {success, component, before, after, change}.

p_created_by may only name the caller.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (it would go below zero).';
grant execute on function public.adjust_component_stock to authenticated;

create or replace function public.adjust_accessory_stock(
  p_accessory_id uuid, p_change numeric, p_reason text default null,
  p_reference text default null, p_created_by text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb;
begin
  perform app.require('Supervisor');
  v_done := app.adjust_stock(
    'accessory', p_accessory_id, p_change, p_reason, p_reference, p_created_by
  );
  return v_done - '{title,alt_title}'::text[] || jsonb_build_object(
    'accessory', v_done -> 'title',
    'needs_sync', ((v_done ->> 'before')::numeric > 0) <> ((v_done ->> 'after')::numeric > 0)
  );
end;
$$;
comment on function public.adjust_accessory_stock is
'Count an accessory up or down: {success, accessory, before, after, change, needs_sync}.

needs_sync: it ran out or came back; the push to the shops is on its way in any case.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (it would go below zero).';
grant execute on function public.adjust_accessory_stock to authenticated;

create or replace function public.adjust_cake_topper_stock(
  p_topper_id uuid, p_change numeric, p_reason text default null,
  p_reference text default null, p_created_by text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb;
begin
  perform app.require('Supervisor');
  v_done := app.adjust_stock('topper', p_topper_id, p_change, p_reason, p_reference, p_created_by);
  return jsonb_build_object(
    'success', true, 'old_stock', v_done -> 'before', 'new_stock', v_done -> 'after',
    'name_1', v_done -> 'title', 'name_2', v_done -> 'alt_title'
  );
end;
$$;
comment on function public.adjust_cake_topper_stock is
'Count a cake topper up or down: {success, old_stock, new_stock, name_1, name_2}.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (it would go below zero).';
grant execute on function public.adjust_cake_topper_stock to authenticated;

create or replace function public.set_stock_buffer(p_item_id uuid, p_buffer numeric)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  update public.inventory_items as items
  set buffer = coalesce(app.checked_quantity(p_buffer), 0)
  where items.id = p_item_id;
  if not found then
    perform app.fail('NOT_FOUND', 'No such item.', jsonb_build_object('item_id', p_item_id));
  end if;
  perform app.audit(
    'set_stock_buffer', null, p_item_id::text, jsonb_build_object('buffer', p_buffer)
  );
end;
$$;
comment on function public.set_stock_buffer is
'Keep so much of an item back from the shops; null: nothing. Audited.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.set_stock_buffer to authenticated;

create or replace function public.get_inventory_status(p_search text default null)
returns table (
  item_id uuid, sku text, title text, kind text, stock numeric, reserved numeric, buffer numeric,
  ats numeric, min_stock numeric, is_low_stock boolean
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    items.id, items.sku, items.title, items.kind, items.on_hand::numeric, items.reserved::numeric,
    items.buffer::numeric, items.ats::numeric, items.min_stock::numeric,
    items.on_hand < items.min_stock
  from public.inventory_items as items
  where items.is_active
  and strpos(
    lower(concat_ws(' ', items.sku, items.title, items.alt_title)), lower(coalesce(p_search, ''))
  ) > 0
  order by items.title, items.id;
end;
$$;
comment on function public.get_inventory_status is
'Stock, what orders wait for, the buffer and what is available to sell, of every active item.

Role: Staff.';
grant execute on function public.get_inventory_status to authenticated;

create or replace function public.get_stock_transactions(
  p_table_name text default null, p_item_id uuid default null, p_limit integer default 100
)
returns table (
  id bigint, table_name text, item_id uuid, item_name text, change_amount numeric,
  stock_before numeric, stock_after numeric, reason text, reference text, created_by text,
  created_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  if p_table_name not in ('components', 'accessories', 'cake_toppers') then
    perform app.fail(
      'BAD_INPUT', 'Stock is of components, accessories or cake_toppers.',
      jsonb_build_object('table_name', p_table_name)
    );
  end if;
  return query
  select
    txn.id, names.table_name, txn.item_id, items.title, txn.change_amount,
    txn.stock_before::numeric, txn.stock_after::numeric, coalesce(txn.reason, txn.kind),
    coalesce(txn.reference, txn.order_gid), coalesce(staff.full_name, txn.actor_kind), txn.at_ts
  from public.inventory_txn as txn
  inner join public.inventory_items as items on items.id = txn.item_id
  inner join (
    values ('component', 'components'), ('accessory', 'accessories'), ('topper', 'cake_toppers')
  ) as names (kind, table_name) on names.kind = items.kind
  left join public.staff_shared as staff on staff.user_id = txn.actor_id
  where (p_item_id is null or txn.item_id = p_item_id)
  and (p_table_name is null or names.table_name = p_table_name)
  order by txn.id desc
  limit least(greatest(coalesce(p_limit, 100), 1), 1000);
end;
$$;
comment on function public.get_stock_transactions is
'The ledger, newest first: of one item, of one kind, or of all; at most 1000 rows.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.get_stock_transactions to authenticated;

create or replace function public.get_push_items(p_skus text[])
returns table (sku text, available integer, shopify_variant_id text, shopify_product_ids text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return query
  select
    items.sku, floor(greatest(items.ats, 0))::integer, items.shopify_variant_id,
    array_remove(array[items.shopify_product_id_1, items.shopify_product_id_2], null)
  from public.inventory_items as items
  where items.sku = any(p_skus) and items.kind <> 'component' and items.is_active
  order by items.sku;
end;
$$;
comment on function public.get_push_items is
'What the shops should show for these SKUs: whole pieces, never below 0.

A SKU that is gone, inactive or not for sale is left out: nothing to push.

Role: service_role.';
grant execute on function public.get_push_items to service_role;

create or replace function public.apply_reconcile(p_counts jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count record;
  v_item record;
  v_corrected jsonb := '[]'::jsonb;
  v_same integer := 0;
  v_waiting integer := 0;
begin
  perform app.require('service_role');
  if jsonb_typeof(p_counts) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_counts) as counts (one)
    where jsonb_typeof(counts.one -> 'sku') is distinct from 'string'
    or jsonb_typeof(counts.one -> 'available') is distinct from 'number'
  ) then
    perform app.fail('BAD_INPUT', 'Counts are a list of {sku, available}.');
  end if;

  for v_count in
    select items.id, least(greatest(min((counts.one ->> 'available')::numeric), 0), 99999999)
      as available
    from jsonb_array_elements(p_counts) as counts (one)
    inner join public.inventory_items as items on items.sku = counts.one ->> 'sku'
    where items.kind <> 'component' and items.is_active
    group by items.id
    order by items.sku
  loop
    select items.sku, items.ats into v_item
    from public.inventory_items as items where items.id = v_count.id for no key update;
    if floor(greatest(v_item.ats, 0)) = floor(v_count.available) then
      v_same := v_same + 1;
    elsif exists (
      select from public.inventory_txn as txn
      where txn.item_id = v_count.id and txn.at_ts > app.now() - interval '1 hour'
    ) or exists (
      select from public.work_queue as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_item.sku
    ) or exists (
      select from public.work_dead as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_item.sku
    ) then
      v_waiting := v_waiting + 1;
    else
      perform app.move_stock(
        v_count.id, v_count.available - v_item.ats, 'reconcile', 'reconcile'
      );
      v_corrected := v_corrected || jsonb_build_object(
        'sku', v_item.sku, 'was', v_item.ats, 'is', v_count.available
      );
    end if;
  end loop;
  return jsonb_build_object('corrected', v_corrected, 'same', v_same, 'waiting', v_waiting);
end;
$$;
comment on function public.apply_reconcile is
'Believe the shops: where [{sku, available}] differs from what is available to sell, correct the stock by a ledger row.

A negative count is 0. An item that moved within the hour, or whose push has not arrived, is left for next time: the shops do not know yet. Answers with {corrected: [{sku, was, is}], same, waiting}.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.apply_reconcile to service_role;

-- Triggers
create or replace trigger inventory_items_push_stock
after update of on_hand, reserved, buffer on public.inventory_items
for each row
when (old.ats is distinct from new.ats and new.kind <> 'component' and new.is_active)
execute function app.push_stock();
create or replace trigger inventory_items_set_updated_at
before update on public.inventory_items
for each row execute function app.set_updated_at();
create or replace trigger inventory_txn_append_only
before update or delete or truncate on public.inventory_txn
for each statement execute function app.append_only();

-- Policies
do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
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

-- Grants
grant select on table public.inventory_items to authenticated;

select app.assert_grants();

commit;
