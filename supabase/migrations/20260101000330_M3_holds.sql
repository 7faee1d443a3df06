-- M3 holds: orders take stock, wait for missing stock, and give stock back.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

alter table public.orders add column if not exists inventory_blocked boolean not null default false;
comment on column public.orders.inventory_blocked is
'True while the order has an open hold. Work on the order may go on, because this is not a stage.';
grant select (inventory_blocked) on table public.orders to authenticated;

create table if not exists public.reservation_holds (
  store text not null references public.stores (code),
  order_gid app.code not null,
  item_id uuid not null references public.inventory_items (id),
  quantity public.stock_quantity not null check (quantity > 0),
  matched_by app.code not null,
  created_at timestamptz not null default app.now(),
  outcome text check (outcome in ('filled', 'cancelled')),
  released_at timestamptz,
  primary key (store, order_gid, item_id),
  constraint reservation_holds_released_check check ((outcome is null) = (released_at is null))
);
create index if not exists reservation_holds_item_idx
on public.reservation_holds (item_id, created_at);
alter table public.reservation_holds enable row level security;
comment on table public.reservation_holds is
'Holds: stock that an order needs and did not get. New stock fills the oldest hold first.';
comment on column public.reservation_holds.outcome is 'Null while the hold is open.';

create or replace function app.match_item(p_line jsonb, out item_id uuid, out matched_by text)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_title text := lower(btrim(p_line ->> 'title'));
  v_variant text := lower(p_line ->> 'variant_title');
  v_text text;
begin
  select items.id, 'sku' into item_id, matched_by
  from public.inventory_items as items where items.sku = p_line ->> 'sku' and items.is_active;
  if found then
    return;
  end if;

  select items.id, 'variant' into item_id, matched_by
  from public.inventory_items as items
  where items.shopify_variant_id = p_line ->> 'variant_id' and items.is_active
  order by items.sku
  limit 1;
  if found then
    return;
  end if;

  select toppers.id, case when toppers.is_product then 'product' else 'name' end
  into item_id, matched_by
  from (
    select
      items.id, items.sku,
      coalesce(
        p_line ->> 'product_id' in (items.shopify_product_id_1, items.shopify_product_id_2), false
      ) as is_product,
      v_title in (lower(items.title), lower(items.alt_title)) as is_name
    from public.inventory_items as items where items.kind = 'topper' and items.is_active
  ) as toppers
  where toppers.is_product or toppers.is_name
  order by toppers.is_product desc, toppers.sku
  limit 1;
  if found or p_line ->> 'kind' = 'cake' then
    return;
  end if;

  -- a variant reads "Gold / Large" online and "Gold + Large" at the till: add its second part
  v_text := v_title || ' ' || coalesce(
    nullif(btrim(split_part(v_variant, '/', 2)), ''),
    nullif(btrim(split_part(v_variant, '+', 2)), ''), v_variant, ''
  );
  select items.id, 'keyword' into item_id, matched_by
  from public.inventory_items as items
  inner join (
    select given.component_id, lower(given.keyword), given.match_type, given.priority
    from public.accessory_keywords as given where given.is_active
    union all
    select own.id, lower(own.product_match), 'contains', 0
    from public.inventory_items as own where own.product_match is not null
  ) as words (component_id, keyword, match_type, priority) on words.component_id = items.id
  where items.is_active and case words.match_type
    when 'exact' then words.keyword in (v_title, btrim(v_text))
    when 'starts_with' then starts_with(v_text, words.keyword)
    when 'ends_with' then words.keyword in (
      right(v_title, length(words.keyword)), right(btrim(v_text), length(words.keyword))
    )
    else strpos(v_text, words.keyword) > 0
  end
  order by words.priority desc, length(words.keyword) desc, items.sku
  limit 1;
end;
$$;
comment on function app.match_item is
'Finds the item of an order line. Returns the item and the kind of match, or nulls. Tries SKU, variant, product and name of a topper, then keywords. Keywords never match cakes. The highest priority wins, then the longest keyword, then the first SKU. Keywords are plain text, so % and _ are ordinary characters.';

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

create or replace function app.update_inventory_blocked(
  p_store text, p_order_gid text, p_shortages jsonb default '[]'
)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_blocked boolean := exists (
    select from public.reservation_holds as holds
    where holds.store = p_store and holds.order_gid = p_order_gid and holds.released_at is null
  );
begin
  update public.orders as orders
  set inventory_blocked = v_blocked
  where orders.store = p_store and orders.shopify_order_gid = p_order_gid
  and orders.inventory_blocked <> v_blocked;
  if found or p_shortages <> '[]' then
    insert into public.stage_events (store, order_id, stage, event_type, staff_id, ok, meta)
    select
      orders.store, orders.id, orders.stage, 'shortage', (app.actor()).user_id, not v_blocked,
      jsonb_build_object('items', p_shortages)
    from public.orders as orders
    where orders.store = p_store and orders.shopify_order_gid = p_order_gid
    order by orders.cancelled_at is not null, length(orders.suffix) nulls first, orders.suffix
    limit 1;
    perform app.emit(
      'inventory_blocked',
      jsonb_build_object('store', p_store, 'order_gid', p_order_gid, 'blocked', v_blocked)
    );
  end if;
  return v_blocked;
end;
$$;
comment on function app.update_inventory_blocked is
'Flags the units of an order while it has an open hold. Returns the flag. A changed flag or a new shortage writes an event on the first unit. ok in that event is true when no hold is open. Lock the units before the call, because their rows are written.';

create or replace function app.fill_holds(p_item_id uuid default null)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold record;
  v_filled integer := 0;
begin
  for v_hold in
    select queue.store, queue.order_gid, queue.item_id, queue.quantity, queue.matched_by
    from (
      select
        holds.store, holds.order_gid, holds.item_id, holds.quantity, holds.matched_by,
        holds.created_at, items.sku, items.on_hand - sum(holds.quantity) over (
          partition by holds.item_id order by holds.created_at, holds.store, holds.order_gid
        ) as left_over
      from public.reservation_holds as holds
      inner join public.inventory_items as items on items.id = holds.item_id
      where holds.released_at is null and (p_item_id is null or holds.item_id = p_item_id)
    ) as queue
    where queue.left_over >= 0
    order by queue.sku, queue.created_at, queue.store, queue.order_gid
  loop
    -- Skip a locked order: its session may be waiting for this item. The next run tries again.
    perform from public.inventory_items as items
    where items.id = v_hold.item_id and items.on_hand >= v_hold.quantity for no key update;
    continue when not found;
    perform from public.reservation_holds as holds
    where holds.store = v_hold.store and holds.order_gid = v_hold.order_gid
    and holds.item_id = v_hold.item_id and holds.released_at is null;
    continue when not found;
    continue when (
      select count(*) from public.orders as orders
      where orders.store = v_hold.store and orders.shopify_order_gid = v_hold.order_gid
    ) <> (
      select count(*) from (
        select from public.orders as orders
        where orders.store = v_hold.store and orders.shopify_order_gid = v_hold.order_gid
        for no key update skip locked
      ) as mine
    );

    update public.reservation_holds as holds
    set outcome = 'filled', released_at = app.now()
    where holds.store = v_hold.store and holds.order_gid = v_hold.order_gid
    and holds.item_id = v_hold.item_id;
    update public.inventory_items as items
    set reserved = items.reserved - v_hold.quantity
    where items.id = v_hold.item_id;
    perform app.move_stock(
      v_hold.item_id, -v_hold.quantity, 'deduct', 'order_create', null, v_hold.store,
      v_hold.order_gid, v_hold.matched_by
    );
    perform app.update_inventory_blocked(v_hold.store, v_hold.order_gid);
    v_filled := v_filled + 1;
  end loop;
  return v_filled;
end;
$$;
comment on function app.fill_holds is
'Gives stock to waiting orders, of one item or of all, oldest first. Returns the number of filled holds. Runs when stock comes in, and every minute for orders that were locked then. No order overtakes another: a large hold keeps later holds of its item waiting.';

create or replace function app.deduct_order(p_store text, p_order_gid text, p_lines jsonb)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_recipes boolean := (app.setting(p_store, 'inventory_tracking_enabled'))::boolean;
  v_cancelled boolean;
  v_wanted record;
  v_item record;
  v_deducted jsonb := '[]'::jsonb;
  v_shortages jsonb := '[]'::jsonb;
  v_already boolean := false;
begin
  -- the same lock order everywhere: first orders, then items by SKU
  select bool_and(units.cancelled_at is not null) into v_cancelled
  from (
    select orders.cancelled_at
    from public.orders as orders
    where orders.store = p_store and orders.shopify_order_gid = p_order_gid
    order by orders.id
    for no key update
  ) as units;
  if v_cancelled then
    return '{"deducted": [], "shortages": [], "already_done": true}'::jsonb;
  end if;

  for v_wanted in
    with lines as (
      select
        lines.line, (lines.line ->> 'quantity')::numeric as quantity,
        case when v_recipes then app.find_recipe(p_store, lines.line) end as bom_id
      from jsonb_array_elements(p_lines) as lines (line)
      where (lines.line ->> 'quantity')::numeric > 0
    ),
    needs (item_id, quantity, matched_by, is_optional) as (
      select matches.item_id, lines.quantity, matches.matched_by, false
      from lines cross join lateral app.match_item(lines.line) as matches
      union all
      select
        parts.component_id, parts.quantity_required * lines.quantity, 'recipe', parts.is_optional
      from lines inner join public.bom_items as parts on parts.bom_id = lines.bom_id
    )
    select
      items.id as item_id, sum(needs.quantity) as quantity, min(needs.matched_by) as matched_by,
      bool_and(needs.is_optional) as is_optional
    from needs inner join public.inventory_items as items on items.id = needs.item_id
    group by items.id
    order by items.sku
  loop
    if v_wanted.quantity > 100000 then
      perform app.fail('BAD_INPUT', 'An order can take at most 100000 of an item. Check its lines.');
    end if;
    select items.sku, items.on_hand, items.reserved into v_item
    from public.inventory_items as items where items.id = v_wanted.item_id for no key update;
    if exists (
      select from public.inventory_txn as txn
      where txn.store = p_store and txn.order_gid = p_order_gid
      and txn.item_id = v_wanted.item_id and txn.kind = 'deduct'
    ) or exists (
      select from public.reservation_holds as holds
      where holds.store = p_store and holds.order_gid = p_order_gid
      and holds.item_id = v_wanted.item_id
    ) then
      v_already := true;
    elsif v_item.on_hand - v_item.reserved >= v_wanted.quantity then
      perform app.move_stock(
        v_wanted.item_id, -v_wanted.quantity, 'deduct', 'order_create', null, p_store, p_order_gid,
        v_wanted.matched_by
      );
      v_deducted := v_deducted || jsonb_build_object(
        'sku', v_item.sku, 'quantity', v_wanted.quantity, 'matched_by', v_wanted.matched_by
      );
    elsif not v_wanted.is_optional then
      insert into public.reservation_holds (store, order_gid, item_id, quantity, matched_by)
      values (p_store, p_order_gid, v_wanted.item_id, v_wanted.quantity, v_wanted.matched_by);
      update public.inventory_items as items
      set reserved = items.reserved + v_wanted.quantity
      where items.id = v_wanted.item_id;
      v_shortages := v_shortages || jsonb_build_object(
        'sku', v_item.sku, 'quantity', v_wanted.quantity, 'matched_by', v_wanted.matched_by,
        'available', greatest(v_item.on_hand - v_item.reserved, 0)
      );
    end if;
  end loop;
  if v_shortages <> '[]' or v_already then -- a new cake of an order that waits has no flag yet
    perform app.update_inventory_blocked(p_store, p_order_gid, v_shortages);
  end if;
  return jsonb_build_object(
    'deducted', v_deducted, 'shortages', v_shortages, 'already_done', v_already
  );
end;
$$;
comment on function app.deduct_order is
'Takes from the stock the items that the lines of an order need. Returns {deducted, shortages, already_done}. Takes each item once per order, however often the call is repeated. A short item is not taken at all. The order gets a hold for that item, the flag and an event. The other items are still taken. Recipes count only where the store tracks inventory. Optional components are skipped when short. A cancelled order takes nothing. Errors: BAD_INPUT (too large a quantity).';

create or replace function app.restock_order(p_store text, p_order_gid text)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_items uuid[];
  v_item record;
  v_used boolean;
  v_restocked integer := 0;
begin
  perform from public.orders as orders
  where orders.store = p_store and orders.shopify_order_gid = p_order_gid
  order by orders.id for no key update;
  v_used := exists (
    select from public.orders as orders
    where orders.store = p_store and orders.shopify_order_gid = p_order_gid
    and orders.stage = 'Complete'
  );
  -- Read the ids first. In a subquery, a row that changes before the lock would be lost.
  v_items := array(
    select txn.item_id from public.inventory_txn as txn
    where txn.store = p_store and txn.order_gid = p_order_gid
    union
    select holds.item_id from public.reservation_holds as holds
    where holds.store = p_store and holds.order_gid = p_order_gid
  );

  for v_item in
    select items.id
    from public.inventory_items as items where items.id = any(v_items)
    order by items.sku
    for no key update
  loop
    with released as (
      update public.reservation_holds as holds
      set outcome = 'cancelled', released_at = app.now()
      where holds.store = p_store and holds.order_gid = p_order_gid
      and holds.item_id = v_item.id and holds.released_at is null
      returning holds.quantity
    )
    update public.inventory_items as items
    set reserved = items.reserved - released.quantity
    from released where items.id = v_item.id;
    if found then
      perform app.fill_holds(v_item.id);
      v_restocked := v_restocked + 1;
    end if;
    perform app.move_stock(
      v_item.id, -taken.change_amount, 'restock', 'order_cancel', null, p_store, p_order_gid,
      taken.matched_by
    )
    from public.inventory_txn as taken
    where taken.store = p_store and taken.order_gid = p_order_gid
    and taken.item_id = v_item.id and taken.kind = 'deduct' and not v_used
    and not exists (
      select from public.inventory_txn as given
      where given.store = p_store and given.order_gid = p_order_gid
      and given.item_id = v_item.id and given.kind = 'restock'
    );
    if found then
      v_restocked := v_restocked + 1;
    end if;
  end loop;
  update public.orders as orders
  set inventory_blocked = false
  where orders.store = p_store and orders.shopify_order_gid = p_order_gid
  and orders.inventory_blocked;
  return v_restocked;
end;
$$;
comment on function app.restock_order is
'Gives back the stock that an order took and cancels its open holds. Returns the number of items. A repeat changes nothing. An order with a complete unit gives no stock back, because that stock is used. Call this for the whole order once its last unit is cancelled. Lock the units in the order of their ids.';

create or replace function app.settle_stock(p_store text, p_order text)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
declare
  v_lines jsonb;
  v_is_over boolean;
begin
  select
    heads.lines,
    heads.cancelled_at is not null or units.has_cancelled and not units.has_open
  into v_lines, v_is_over
  from public.shopify_orders as heads
  cross join lateral (
    select
      bool_or(orders.cancelled_at is not null) as has_cancelled,
      bool_or(orders.cancelled_at is null and orders.stage <> 'Complete') as has_open
    from public.orders as orders where orders.store = p_store and orders.shopify_order_gid = p_order
  ) as units
  where heads.store = p_store and heads.gid = p_order;
  if not found then -- a manual order takes no stock
    return 0;
  end if;
  if v_is_over then
    return app.restock_order(p_store, p_order);
  end if;
  return jsonb_array_length(app.deduct_order(p_store, p_order, v_lines) -> 'deducted');
end;
$$;
comment on function app.settle_stock is
'Listener of app.order_changed: takes the stock that a Shopify order needs. Gives the stock back when the order is cancelled, or has a cancelled unit and no open one. Returns the number of items moved.';

create or replace function app.fill_waiting()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from public.inventory_items as items where items.id = new.item_id and items.reserved > 0
  ) then
    perform app.fill_holds(new.item_id);
  end if;
  return null;
end;
$$;
comment on function app.fill_waiting is
'Trigger: fills the holds of an item when its stock comes in.';

create or replace function public.get_shortages(p_store text default null)
returns table (
  store text, order_gid text, order_id text, item_id uuid, sku text, title text, quantity numeric,
  on_hand numeric, waiting_since timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store);
begin
  return query
  select
    holds.store, holds.order_gid::text, units.id, items.id, items.sku::text, items.title::text,
    holds.quantity::numeric, items.on_hand::numeric, holds.created_at
  from public.reservation_holds as holds
  inner join public.inventory_items as items on items.id = holds.item_id
  left join lateral (
    select orders.id
    from public.orders as orders
    where orders.store = holds.store and orders.shopify_order_gid = holds.order_gid
    order by orders.cancelled_at is not null, length(orders.suffix) nulls first, orders.suffix
    limit 1
  ) as units on true
  where holds.released_at is null and holds.store = any(v_caller.stores)
  order by holds.created_at, holds.store, holds.order_gid, items.sku;
end;
$$;
comment on function public.get_shortages is
'Returns the open holds, oldest first. p_store limits the list to one store. Null means every store of the caller.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_shortages to authenticated;

create or replace trigger inventory_txn_fill_waiting
after insert on public.inventory_txn
for each row when (new.change_amount > 0)
execute function app.fill_waiting();

select app.register_task('fill_holds', 'tick', 'fill_holds'); -- retries skipped orders
select app.register_hook('order_changed', 1, 'settle_stock');

select app.assert_grants();
commit;
