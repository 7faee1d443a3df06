-- M3 due: what an order should have taken from the stock, and what it took.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.reservation_holds (
  store text not null references public.stores (code),
  order_gid app.code not null,
  item_id uuid not null,
  site text not null,
  quantity public.stock_quantity not null check (quantity > 0),
  matched_by app.code not null,
  created_at timestamptz not null default app.now(),
  primary key (store, order_gid, item_id, site),
  foreign key (item_id, site) references public.site_stock (item_id, site)
);
create index if not exists reservation_holds_item_idx
on public.reservation_holds (item_id, site, created_at);
alter table public.reservation_holds enable row level security;
comment on table public.reservation_holds is
'Holds: stock that an order needs and did not get. New stock at the site fills the oldest hold of its item there first, which deletes the hold.';
comment on column public.reservation_holds.order_gid is
'The gid of a Shopify order, or the id of a manual order.';

create or replace function app.order_head(
  p_store text, p_order text, out site text, out created_at timestamptz
)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
begin
  select heads.site, heads.created_at into site, created_at
  from public.shopify_orders as heads
  where heads.store = p_store and heads.gid = p_order;
  if not found then
    select orders.site, orders.created_at into site, created_at
    from public.orders as orders
    where orders.store = p_store and orders.id = p_order and orders.shopify_order_gid is null;
  end if;
  created_at := coalesce(created_at, '-infinity');
end;
$$;
comment on function app.order_head is
'Returns the site of an order, and its creation: -infinity for an unknown order. p_order is the gid of a Shopify order, or the id of a manual order.';

create or replace function app.lock_whole_order(p_order_id text)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_order text := (
    select coalesce(orders.shopify_order_gid, orders.id)
    from public.orders as orders where orders.store = v_store and orders.id = p_order_id
  );
begin
  if v_order is null then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
  perform from public.shopify_orders as heads
  where heads.store = v_store and heads.gid = v_order for update;
  perform from public.orders as units
  where units.store = v_store and units.id = any(app.units_of(v_store, v_order))
  order by units.id for no key update;
  return v_order;
end;
$$;
comment on function app.lock_whole_order is
'Locks the Shopify order of a cake, and then all its cakes. Returns its gid, or the id of a manual order. Raises NOT_FOUND.';

create or replace function app.stock_booked(p_store text, p_order text)
returns table (item_id uuid, site text, taken numeric, held numeric, matched_by text)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  -- No month before or ahead is read. The day is that of app.starts_of.
  v_begins timestamptz := (app.order_head(p_store, p_order)).created_at - interval '1 day';
  v_ends timestamptz := app.now() + interval '1 day';
begin
  return query
  select
    booked.item_id, booked.site, sum(booked.taken), sum(booked.held), min(booked.matched_by)::text
  from (
    select txn.item_id, txn.site, -txn.change_amount as taken, 0 as held, txn.matched_by
    from public.inventory_txn as txn
    where txn.store = p_store and txn.order_gid = p_order
    and txn.at_ts >= v_begins and txn.at_ts < v_ends
    union all
    select holds.item_id, holds.site, 0, holds.quantity, holds.matched_by
    from public.reservation_holds as holds
    where holds.store = p_store and holds.order_gid = p_order
  ) as booked
  group by booked.item_id, booked.site;
end;
$$;
comment on function app.stock_booked is
'Returns what an order has taken of each item at each site, without what it gave back, and what it waits for.';

create or replace function app.order_pieces(p_store text, p_order text, p_units text[])
returns table (line jsonb, is_cake boolean, pieces numeric, kept numeric, is_finished boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
declare
  v_units record;
  v_head record;
  v_left numeric;
  v_cakes integer;
begin -- a loop, because a query on a few lines takes longer
  select
    coalesce(bool_or(orders.cancelled_at is null), false) as are_live,
    coalesce(
      bool_and(orders.stage = 'Complete') filter (where orders.cancelled_at is null), false
    ) as are_done,
    coalesce(
      array_agg(app.line_item_id(orders.order_json)) filter (where orders.cancelled_at is null), '{}'
    ) as lines,
    min(orders.product_title) as title, min(orders.item_qty) as item_qty
  into v_units
  from public.orders as orders
  where orders.store = p_store and orders.id = any(p_units);
  select
    heads.lines, heads.cancelled_at is not null or not v_units.are_live
    and jsonb_path_exists(heads.lines, '$[*] ? (@.kind == "cake" && @.quantity > 0)') as is_over
  into v_head
  from public.shopify_orders as heads
  where heads.store = p_store and heads.gid = p_order;
  if not found then -- a manual order
    return query
    select
      jsonb_build_object('title', v_units.title, 'kind', 'cake'), true,
      case when v_units.are_live then v_units.item_qty else 0 end::numeric,
      v_units.item_qty::numeric, v_units.are_done
    where v_units.item_qty > 0;
    return;
  end if;
  is_finished := v_units.are_done;
  for v_at in 0..jsonb_array_length(v_head.lines) - 1 loop
    line := v_head.lines -> v_at;
    is_cake := line ->> 'kind' = 'cake';
    kept := (line ->> 'ordered')::numeric - (line ->> 'restocked')::numeric;
    pieces := (line ->> 'quantity')::numeric;
    if is_cake then
      v_cakes := cardinality(array_positions(v_units.lines, app.line_item_id(line)));
      -- a complete cake that Shopify took off the order is used, unless the refund restocked it
      v_left := greatest(v_cakes - pieces, 0);
      pieces := v_cakes - least(v_left, (line ->> 'restocked')::numeric);
    elsif v_head.is_over then
      pieces := 0;
    end if;
    return next;
  end loop;
end;
$$;
comment on function app.order_pieces is
'Returns the lines of an order with these cakes (app.units_of), each with the pieces that take stock.

A line of cakes counts the cakes that are not cancelled. Other lines count what is left in Shopify. They count nothing when the order is cancelled, or when all its cakes are. A manual order is one line. kept is what was ordered and did not come back. is_finished: the order has a complete cake and no open one.';

create or replace function app.stock_due(p_store text, p_order text, p_units text[])
returns table (
  item_id uuid, site text, quantity numeric, matched_by text, is_optional boolean
)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_site text := (app.order_head(p_store, p_order)).site;
  v_recipes boolean := (app.setting(p_store, 'inventory_tracking_enabled'))::boolean;
begin
  return query
  with lines as materialized (
    select
      pieces.*, case when v_recipes then app.find_recipe(p_store, pieces.line) end as bom_id
    from app.order_pieces(p_store, p_order, p_units) as pieces
    where pieces.pieces > 0 or pieces.is_finished
  ),
  needs as (
    select
      matches.item_id, matches.matched_by, 1 as per_piece, false as is_optional, lines.pieces,
      lines.kept, lines.is_cake, lines.is_finished, 0 as taken
    from lines cross join lateral app.match_item(lines.line) as matches
    where matches.item_id is not null
    union all
    select
      parts.component_id, 'recipe', parts.quantity_required, parts.is_optional, lines.pieces,
      lines.kept, lines.is_cake, lines.is_finished, 0
    from lines inner join public.bom_items as parts on parts.bom_id = lines.bom_id
    union all
    -- a finished order keeps what it took, and waits for nothing
    select taken.item_id, taken.matched_by, null, true, null, null, null, true, taken.taken
    from app.stock_booked(p_store, p_order) as taken
    where taken.site = v_site and exists (select from lines where lines.is_finished)
  ),
  totals as (
    select
      needs.item_id, bool_or(needs.is_finished) as is_finished, sum(needs.taken) as taken,
      sum(needs.per_piece * needs.pieces) as due,
      sum(needs.per_piece * needs.pieces) filter (where not needs.is_cake) as beside_cakes,
      sum(needs.per_piece * case when needs.is_cake then needs.pieces else needs.kept end) as kept,
      min(needs.matched_by) as matched_by, bool_and(needs.is_optional) as is_optional
    from needs
    group by needs.item_id
  )
  select
    totals.item_id, v_site,
    case
      when totals.is_finished
        then greatest(totals.beside_cakes, least(totals.taken, totals.kept), 0)
      else totals.due
    end,
    totals.matched_by, totals.is_finished or totals.is_optional
  from totals where totals.is_finished or totals.due > 0;
end;
$$;
comment on function app.stock_due is
'Returns what an order with these cakes (app.units_of) should have taken of each item at its site, by its lines and recipes as they are now.

Recipes count only where the store tracks inventory. An optional item is taken when there is stock, and is never waited for. An order without an open cake keeps what it took. It gives back only what refunds restocked and what its cancelled cakes took. It takes only what was added beside its cakes.';

select app.assert_grants();
commit;
