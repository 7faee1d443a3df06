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

create or replace function app.order_site(p_store text, p_order text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
begin
  return coalesce(
    (
      select heads.site from public.shopify_orders as heads
      where heads.store = p_store and heads.gid = p_order
    ),
    (
      select orders.site from public.orders as orders
      where orders.store = p_store and orders.id = p_order and orders.shopify_order_gid is null
    )
  );
end;
$$;
comment on function app.order_site is
'Returns the site of an order. p_order is the gid of a Shopify order, or the id of a manual order.';

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

create or replace function app.order_begins(p_store text, p_order text)
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
begin
  return coalesce(
    (
      select heads.created_at from public.shopify_orders as heads
      where heads.store = p_store and heads.gid = p_order
    ),
    (
      select orders.created_at from public.orders as orders
      where orders.store = p_store and orders.id = p_order and orders.shopify_order_gid is null
    ),
    '-infinity'
  ) - interval '1 day'; -- as app.starts_of says
end;
$$;
comment on function app.order_begins is
'Returns a time before which no ledger row names the order: a day before its creation. p_order is the gid of a Shopify order, or the id of a manual order.';

create or replace function app.stock_booked(p_store text, p_order text)
returns table (item_id uuid, site text, taken numeric, held numeric, matched_by text)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_begins timestamptz := app.order_begins(p_store, p_order); -- no month before or ahead is read
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
begin
  return query
  with units as materialized (
    select
      orders.shopify_order_gid is null as is_manual, orders.product_title, orders.item_qty,
      app.line_item_id(orders.order_json) as line_id, orders.cancelled_at is null as is_live,
      orders.stage = 'Complete' as is_done
    from public.orders as orders
    where orders.store = p_store and orders.id = any(p_units)
  ),
  whole as materialized (
    select
      coalesce(bool_or(units.is_live), false) as is_live,
      coalesce(bool_and(units.is_done) filter (where units.is_live), false) as is_finished
    from units
  ),
  lines as (
    select
      lines.line, lines.line ->> 'kind' = 'cake' as is_cake,
      (lines.line ->> 'quantity')::numeric as quantity,
      (lines.line ->> 'ordered')::numeric as ordered,
      (lines.line ->> 'restocked')::numeric as restocked,
      heads.cancelled_at is not null as is_cancelled, (
        select count(*) from units
        where units.line_id = coalesce((lines.line ->> 'line_id')::bigint, 0) and units.is_live
      ) as cakes
    from public.shopify_orders as heads
    cross join jsonb_array_elements(heads.lines) as lines (line)
    where heads.store = p_store and heads.gid = p_order
  )
  select
    lines.line, lines.is_cake,
    case
      -- a complete cake that Shopify took off the order is used, unless the refund restocked it
      when lines.is_cake
        then lines.cakes - least(greatest(lines.cakes - lines.quantity, 0), lines.restocked)
      when lines.is_cancelled then 0
      when not whole.is_live and bool_or(lines.is_cake and lines.quantity > 0) over () then 0
      else lines.quantity
    end,
    lines.ordered - lines.restocked,
    whole.is_finished
  from lines cross join whole
  union all
  select
    jsonb_build_object('title', units.product_title, 'kind', 'cake'), true,
    case when units.is_live then units.item_qty else 0 end, units.item_qty, whole.is_finished
  from units cross join whole where units.is_manual;
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
  v_site text := app.order_site(p_store, p_order);
  v_recipes boolean := (app.setting(p_store, 'inventory_tracking_enabled'))::boolean;
begin
  return query
  with lines as materialized (
    select
      pieces.*, case when v_recipes then app.find_recipe(p_store, pieces.line) end as bom_id
    from app.order_pieces(p_store, p_order, p_units) as pieces
    where pieces.pieces > 0 or pieces.is_finished
  ),
  totals as (
    select
      needs.item_id, bool_or(needs.is_finished) as is_finished,
      sum(needs.per_piece * needs.pieces) as due,
      sum(needs.per_piece * needs.pieces) filter (where not needs.is_cake) as beside_cakes,
      sum(needs.per_piece * case when needs.is_cake then needs.pieces else needs.kept end) as kept,
      min(needs.matched_by) as matched_by, bool_and(needs.is_optional) as is_optional
    from (
      select
        matches.item_id, matches.matched_by, 1 as per_piece, false as is_optional, lines.pieces,
        lines.kept, lines.is_cake, lines.is_finished
      from lines cross join lateral app.match_item(lines.line) as matches
      where matches.item_id is not null
      union all
      select
        parts.component_id, 'recipe', parts.quantity_required, parts.is_optional, lines.pieces,
        lines.kept, lines.is_cake, lines.is_finished
      from lines inner join public.bom_items as parts on parts.bom_id = lines.bom_id
    ) as needs
    group by needs.item_id
  )
  select totals.item_id, v_site, totals.due, totals.matched_by, totals.is_optional
  from totals where not totals.is_finished and totals.due > 0
  union all
  -- a finished order keeps what it took, and waits for nothing
  select
    coalesce(totals.item_id, booked.item_id), v_site,
    greatest(totals.beside_cakes, least(booked.taken, totals.kept), 0),
    coalesce(totals.matched_by, booked.matched_by), true
  from totals
  full join (
    select taken.* from app.stock_booked(p_store, p_order) as taken where taken.site = v_site
  ) as booked on booked.item_id = totals.item_id
  where exists (select from lines where lines.is_finished);
end;
$$;
comment on function app.stock_due is
'Returns what an order with these cakes (app.units_of) should have taken of each item at its site, by its lines and recipes as they are now.

Recipes count only where the store tracks inventory. An optional item is taken when there is stock, and is never waited for. An order without an open cake keeps what it took. It gives back only what refunds restocked and what its cancelled cakes took. It takes only what was added beside its cakes.';

select app.assert_grants();
commit;
