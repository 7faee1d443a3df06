-- M3 holds: orders take stock, wait for missing stock, and give stock back.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

alter table public.orders add column if not exists inventory_blocked boolean not null default false;
comment on column public.orders.inventory_blocked is
'True while the order has an open hold. Work on the order may go on, because this is not a stage.';

create or replace function app.update_inventory_blocked(
  p_store text, p_order text, p_shortages jsonb default '[]'
)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_units text[] := app.units_of(p_store, p_order);
  v_blocked boolean := exists (
    select from public.reservation_holds as holds
    where holds.store = p_store and holds.order_gid = p_order
  );
begin
  update public.orders as orders
  set inventory_blocked = v_blocked
  where orders.store = p_store and orders.id = any(v_units)
  and orders.inventory_blocked <> v_blocked;
  if found or p_shortages <> '[]' then
    insert into public.stage_events (store, order_id, stage, event_type, staff_id, ok, meta)
    select
      orders.store, orders.id, orders.stage, 'shortage', (app.actor()).user_id, not v_blocked,
      jsonb_build_object('items', p_shortages)
    from public.orders as orders
    where orders.store = p_store and orders.id = any(v_units)
    order by orders.cancelled_at is not null, length(orders.suffix) nulls first, orders.suffix
    limit 1;
    perform app.emit(
      'inventory_blocked',
      jsonb_build_object('store', p_store, 'order_gid', p_order, 'blocked', v_blocked)
    );
  end if;
  return v_blocked;
end;
$$;
comment on function app.update_inventory_blocked is
'Flags the cakes of an order while the order has a hold. Returns the flag. A changed flag or a new shortage writes an event on the first cake. ok in that event is true when no hold is left. Lock the cakes before the call, because their rows are written.';

create or replace function app.set_hold(
  p_store text, p_order text, p_item_id uuid, p_site text, p_from numeric, p_to numeric,
  p_matched_by text
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_to = 0 then
    delete from public.reservation_holds as holds
    where holds.store = p_store and holds.order_gid = p_order and holds.item_id = p_item_id
    and holds.site = p_site;
  else
    insert into public.reservation_holds (store, order_gid, item_id, site, quantity, matched_by)
    values (p_store, p_order, p_item_id, p_site, p_to, p_matched_by)
    on conflict (store, order_gid, item_id, site) do update set quantity = excluded.quantity;
  end if;
  update public.site_stock as stock
  set reserved = stock.reserved + p_to - p_from
  where stock.item_id = p_item_id and stock.site = p_site;
end;
$$;
comment on function app.set_hold is
'Changes the hold of an order for an item at a site. A hold of 0 is deleted. A changed hold keeps its place. Lock the stock before the call.';

create or replace function app.fill_holds(p_item_id uuid default null, p_site text default null)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold record;
  v_item_id uuid;
  v_units text[];
  v_filled integer := 0;
begin
  for v_hold in
    select queue.*
    from (
      select
        waiting.*, waiting.on_hand - coalesce(
          sum(waiting.quantity) filter (where not waiting.is_over) over (
            partition by waiting.item_id, waiting.site
            order by waiting.created_at, waiting.store, waiting.order_gid
          ), 0
        ) as left_over
      from (
        select
          holds.*, stock.on_hand, items.sku,
          coalesce(
            (
              select bool_and(units.stage = 'Complete' or units.cancelled_at is not null)
              from public.orders as units
              where units.store = holds.store
              and units.id = any(app.units_of(holds.store, holds.order_gid))
            ), false
          ) as is_over
        from public.reservation_holds as holds
        inner join public.site_stock as stock
          on stock.item_id = holds.item_id and stock.site = holds.site
        inner join public.inventory_items as items on items.id = holds.item_id
        where p_item_id is null or (holds.item_id, holds.site) = (p_item_id, p_site)
      ) as waiting
    ) as queue
    where queue.is_over or queue.left_over >= 0
    order by queue.sku, queue.site, queue.created_at, queue.store, queue.order_gid
  loop
    if v_hold.item_id is distinct from v_item_id then -- all sites of an item before its first push
      v_item_id := v_hold.item_id;
      perform from public.site_stock as stock
      where stock.item_id = v_item_id and stock.reserved > 0
      and (p_site is null or stock.site = p_site)
      order by stock.site for no key update;
    end if;
    -- Skip a locked order: its session may be waiting for this stock. The next run tries again.
    perform from public.site_stock as stock
    where stock.item_id = v_hold.item_id and stock.site = v_hold.site
    and (v_hold.is_over or stock.on_hand >= v_hold.quantity)
    for no key update;
    continue when not found;
    perform from public.reservation_holds as holds
    where holds.store = v_hold.store and holds.order_gid = v_hold.order_gid
    and holds.item_id = v_hold.item_id and holds.site = v_hold.site
    and holds.quantity = v_hold.quantity;
    continue when not found;
    v_units := app.units_of(v_hold.store, v_hold.order_gid);
    continue when cardinality(v_units) <> (
      select count(*) from (
        select from public.orders as orders
        where orders.store = v_hold.store and orders.id = any(v_units)
        for no key update skip locked
      ) as mine
    );

    perform app.set_hold(
      v_hold.store, v_hold.order_gid, v_hold.item_id, v_hold.site, v_hold.quantity, 0,
      v_hold.matched_by
    );
    if not v_hold.is_over then
      perform app.move_stock(
        v_hold.item_id, -v_hold.quantity, 'deduct', 'hold_filled', null, v_hold.store,
        v_hold.order_gid, v_hold.matched_by, v_hold.site
      );
      v_filled := v_filled + 1;
    end if;
    perform app.update_inventory_blocked(v_hold.store, v_hold.order_gid);
  end loop;
  return v_filled;
end;
$$;
comment on function app.fill_holds is
'Gives stock to waiting orders, of one item at one site or of all, oldest first. Returns the number of filled holds. Runs when stock comes in, and every minute for orders that were locked then. No order overtakes another: a large hold keeps later holds of its item and site waiting. Drops the holds of an order without an open cake, because its cakes were made without the item.';

create or replace function app.settle_item(
  p_store text, p_order text, p_item_id uuid, p_sku text, p_site text, p_due numeric,
  p_matched_by text, p_is_optional boolean, p_is_booked boolean, p_reason text
)
returns jsonb[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_stock public.site_stock;
  v_taken numeric := 0;
  v_held numeric := 0;
  v_more numeric;
  v_takes boolean;
  v_hold numeric;
  v_move jsonb;
  v_moves jsonb[] := '{}'::jsonb[];
begin
  if p_due > 100000 then
    perform app.fail('BAD_INPUT', 'An order can take at most 100000 of an item. Check its lines.');
  end if;
  v_stock := app.lock_stock(p_item_id, p_site);
  if p_is_booked then -- read under the lock of the stock: a hold may have been filled since
    select coalesce(sum(booked.taken), 0), coalesce(sum(booked.held), 0) into v_taken, v_held
    from app.stock_booked(p_store, p_order) as booked
    where booked.item_id = p_item_id and booked.site = p_site;
  end if;
  v_more := p_due - v_taken;
  v_takes := v_more > 0 and (v_held = 0 or p_is_optional)
    and v_stock.on_hand - v_stock.reserved + v_held >= v_more;
  v_hold := case when v_takes or p_is_optional then 0 else greatest(v_more, 0) end;
  v_move := jsonb_build_object('sku', p_sku, 'matched_by', p_matched_by);

  if v_hold <> v_held then
    perform app.set_hold(p_store, p_order, p_item_id, p_site, v_held, v_hold, p_matched_by);
    v_moves := array_append(v_moves, v_move || jsonb_build_object(
      'move', case when v_hold > v_held then 'held' else 'released' end,
      'quantity', abs(v_hold - v_held)
    ) || case
      when v_hold > v_held
        then jsonb_build_object('available', greatest(v_stock.on_hand - v_stock.reserved, 0))
      else '{}'
    end);
  end if;
  if v_takes or v_more < 0 then
    perform app.move_stock(
      p_item_id, -v_more, case when v_takes then 'deduct' else 'restock' end, p_reason, null,
      p_store, p_order, p_matched_by, p_site
    );
    v_moves := array_append(v_moves, v_move || jsonb_build_object(
      'move', case when v_takes then 'taken' else 'returned' end, 'quantity', abs(v_more)
    ));
  end if;
  if v_hold < v_held then
    perform app.fill_holds(p_item_id, p_site); -- stock that this order no longer waits for
  end if;
  return v_moves;
end;
$$;
comment on function app.settle_item is
'Posts the difference between what an order is due of one item at one site and what it took and waits for there. Returns the moves. A short item is not taken at all: the order gets a hold. An optional item is left out instead.';

create or replace function app.settle_order(p_store text, p_order text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_starts timestamptz := app.starts_of('inventory_txn');
  v_units text[] := app.units_of(p_store, p_order);
  v_need record;
  v_moves jsonb[] := '{}'::jsonb[];
  v_repeated boolean := false;
  v_waited boolean := false;
  v_done jsonb;
begin
  if v_starts > '-infinity' and (app.order_head(p_store, p_order)).created_at < v_starts then
    -- what it took may be in a month that was taken away, and would be taken again
    return '{"taken": [], "returned": [], "held": [], "released": [], "is_repeated": true}'::jsonb;
  end if;
  -- the same lock order everywhere: first orders, then stock by SKU and site, as the jobs of a push
  perform from public.orders as orders
  where orders.store = p_store and orders.id = any(v_units) order by orders.id for no key update;
  for v_need in
    select
      items.id as item_id, items.sku, coalesce(due.site, booked.site) as site,
      coalesce(due.quantity, 0) as quantity,
      coalesce(due.matched_by, booked.matched_by) as matched_by,
      coalesce(due.is_optional, false) as is_optional, booked.item_id is not null as is_booked,
      booked.held > 0 as is_held, count(booked.item_id) over () > 0 as is_repeated,
      count(due.item_id) over () > 0 as is_due,
      array_agg(coalesce(due.site, booked.site)) over (partition by items.id) as sites
    from app.stock_due(p_store, p_order, v_units) as due
    full join app.stock_booked(p_store, p_order) as booked
      on booked.item_id = due.item_id and booked.site = due.site
    inner join public.inventory_items as items on items.id = coalesce(due.item_id, booked.item_id)
    order by items.sku, site
  loop
    if cardinality(v_need.sites) > 1 then -- a push of the item waits for writers of all its sites
      perform app.lock_stock(v_need.item_id, sites.site)
      from (select unnest(v_need.sites) as site order by site) as sites;
    end if;
    v_repeated := v_need.is_repeated;
    v_waited := v_waited or v_need.is_held is true;
    v_moves := v_moves || app.settle_item(
      p_store, p_order, v_need.item_id, v_need.sku, v_need.site, v_need.quantity,
      v_need.matched_by, v_need.is_optional, v_need.is_booked, case
        when not v_need.is_due then 'order_cancel'
        when v_need.is_repeated then 'order_change'
        else 'order_create'
      end
    );
  end loop;
  select jsonb_object_agg(kinds.kind, array(
    select moves.one - 'move' from unnest(v_moves) as moves (one)
    where moves.one ->> 'move' = kinds.kind order by moves.one ->> 'sku'
  )) into v_done
  from unnest('{taken,returned,held,released}'::text[]) as kinds (kind);
  if v_done -> 'held' <> '[]' or v_waited then
    perform app.update_inventory_blocked(p_store, p_order, v_done -> 'held');
  end if;
  return v_done || jsonb_build_object('is_repeated', v_repeated);
end;
$$;
comment on function app.settle_order is
'Compares what an order is due (app.stock_due) with what it took and waits for, and posts the difference. Returns {taken, returned, held, released, is_repeated}. Each of the four is a list of {sku, quantity, matched_by}, and held has the available quantity. A second call moves nothing. An order from before the start of the ledger keeps what it has. Errors: BAD_INPUT (too large a quantity).';

create or replace function app.settle_stock(p_store text, p_order text)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb := app.settle_order(p_store, p_order);
begin
  return jsonb_array_length(v_done -> 'taken') + jsonb_array_length(v_done -> 'returned');
end;
$$;
comment on function app.settle_stock is
'Listener of app.order_changed: settles the stock of an order. Returns the number of items taken and returned.';

create or replace function app.fill_waiting()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from public.site_stock as stock
    where stock.item_id = new.item_id and stock.site = new.site and stock.reserved > 0
  ) then
    perform app.fill_holds(new.item_id, new.site);
  end if;
  return null;
end;
$$;
comment on function app.fill_waiting is
'Trigger: fills the holds of an item at a site when its stock comes in.';

create or replace function public.get_shortages(
  p_store text default null, p_site text default null
)
returns table (
  store text, order_gid text, order_id text, item_id uuid, sku text, title text, quantity numeric,
  on_hand numeric, waiting_since timestamptz, site text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store);
begin
  perform app.require_sites(p_site);
  return query
  select
    holds.store, holds.order_gid::text, units.id, items.id, items.sku::text, items.title::text,
    holds.quantity::numeric, stock.on_hand::numeric, holds.created_at, holds.site
  from public.reservation_holds as holds
  inner join public.inventory_items as items on items.id = holds.item_id
  inner join public.site_stock as stock
    on stock.item_id = holds.item_id and stock.site = holds.site
  left join lateral (
    select orders.id
    from public.orders as orders
    where orders.store = holds.store
    and orders.id = any(app.units_of(holds.store, holds.order_gid))
    order by orders.cancelled_at is not null, length(orders.suffix) nulls first, orders.suffix
    limit 1
  ) as units on true
  where holds.store = any(v_caller.stores) and (p_site is null or holds.site = p_site)
  order by holds.created_at, holds.store, holds.order_gid, items.sku;
end;
$$;
comment on function public.get_shortages is
'Returns the holds, oldest first. p_store limits the list to one store. Null means every store of the caller. p_site limits the list to one site. site is the site of the order, and on_hand the stock there.

Role: Staff. Errors: BAD_INPUT (no such store or site).';
grant execute on function public.get_shortages to authenticated;

create or replace trigger inventory_txn_fill_waiting
after insert on public.inventory_txn
for each row when (new.change_amount > 0)
execute function app.fill_waiting();

select app.register_task('fill_holds', 'tick', 'fill_holds'); -- retries skipped orders
select app.register_hook('order_changed', 1, 'settle_stock');

select app.assert_grants();
commit;
