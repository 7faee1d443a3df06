-- M3 books: that stock, ledger and holds agree, and that orders took what they are due.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.audit_stock()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with cut as ( -- the first row that counts, after months were taken away
    select
      starts.at > '-infinity' as is_cut,
      case when starts.at > '-infinity' then (
        select min(txn.id) from public.inventory_txn as txn
        where txn.at_ts >= starts.at
      ) else 0 end as first_id
    from app.starts_of('inventory_txn') as starts (at)
  )
  select
    null,
    format(
      'item %s has %s in stock at %s and %s in its ledger', items.sku, stock.on_hand, stock.site,
      books.total
    )
  from public.site_stock as stock
  inner join public.inventory_items as items on items.id = stock.item_id
  cross join cut
  cross join lateral (
    select
      case when cut.is_cut then sum(txn.change_amount) + (
        select opening.stock_before
        from public.inventory_txn as opening
        where opening.item_id = stock.item_id and opening.site = stock.site
        and opening.id >= cut.first_id
        order by opening.id
        limit 1
      ) else coalesce(sum(txn.change_amount), 0) end as total
    from public.inventory_txn as txn
    where txn.item_id = stock.item_id and txn.site = stock.site and txn.id >= cut.first_id
  ) as books
  where stock.on_hand <> books.total
  union all
  select
    null,
    format(
      'row %s of the ledger begins with %s, and the row before ends with %s', chain.id,
      chain.stock_before, chain.prior
    )
  from (
    select
      txn.id, txn.stock_before,
      lag(txn.stock_after, 1, case when cut.is_cut then txn.stock_before else 0 end)
        over (partition by txn.item_id, txn.site order by txn.id) as prior
    from public.inventory_txn as txn cross join cut
    where txn.id >= cut.first_id
  ) as chain
  where chain.stock_before <> chain.prior
  union all
  select null, format('the rows of reference %s do not move stock from one site to another', pairs.of)
  from (
    select
      txn.reference as of, sum(txn.change_amount) as total, count(distinct txn.site) as sites,
      count(*) as moves, count(distinct txn.item_id) as items
    from public.inventory_txn as txn where txn.kind = 'transfer'
    group by txn.reference
  ) as pairs
  where (pairs.total, pairs.sites, pairs.moves, pairs.items) <> (0, 2, 2, 1);
$$;
comment on function app.audit_stock is
'Invariant: the stock of an item at a site is the total of its ledger there, and each row of the ledger begins where the row before ends. A transfer has two rows that total 0.

After months were taken away, an item at a site begins with the stock before its first row.';

create or replace function app.audit_holds()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    null,
    format(
      'item %s has %s reserved at %s and %s in open holds', items.sku, stock.reserved, stock.site,
      waiting.total
    )
  from public.site_stock as stock
  inner join public.inventory_items as items on items.id = stock.item_id
  cross join lateral (
    select coalesce(sum(holds.quantity), 0) as total
    from public.reservation_holds as holds
    where holds.item_id = stock.item_id and holds.site = stock.site
  ) as waiting
  where stock.reserved <> waiting.total
  union all
  select
    holds.store, format('order %s waits for stock, and all its cakes are cancelled', holds.order_gid)
  from public.reservation_holds as holds
  where (
    select bool_and(units.cancelled_at is not null)
    from public.orders as units
    where units.store = holds.store
    and units.id = any(app.units_of(holds.store, holds.order_gid))
  )
  union all
  select units.store, format('cake %s has the wrong flag for missing stock', units.id)
  from public.orders as units
  where units.inventory_blocked <> exists (
    select from public.reservation_holds as holds
    where holds.store = units.store
    and holds.order_gid = coalesce(units.shopify_order_gid, units.id)
  );
$$;
comment on function app.audit_holds is
'Invariant: reserved stock is the total of the holds. The cakes of an order with a hold have the flag, and no others. No cancelled order has a hold.';

create or replace function app.audit_returned_stock()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    books.store,
    format('order %s is cancelled and keeps %s of an item', books.order_gid, -books.total)
  from (
    select txn.store, txn.order_gid, txn.item_id, txn.site, sum(txn.change_amount) as total
    from public.inventory_txn as txn
    where txn.store is not null
    group by txn.store, txn.order_gid, txn.item_id, txn.site
    having sum(txn.change_amount) <> 0
  ) as books
  left join public.shopify_orders as heads
    on heads.store = books.store and heads.gid = books.order_gid
  where (heads.gid is null or heads.cancelled_at is not null)
  and (app.order_head(books.store, books.order_gid)).created_at
  >= (select app.starts_of('inventory_txn'))
  and not exists (
    select from public.orders as units
    where units.store = books.store
    and books.order_gid = coalesce(units.shopify_order_gid, units.id)
    and units.cancelled_at is null
  );
$$;
comment on function app.audit_returned_stock is
'Invariant: a cancelled order without a complete cake has given back what it took. Skips orders from before the start of the ledger.';

create or replace function app.stock_audit()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select wrong.store, wrong.what from app.audit_stock() as wrong
  union all
  select wrong.store, wrong.what from app.audit_holds() as wrong
  union all
  select wrong.store, wrong.what from app.audit_returned_stock() as wrong
  union all
  select
    orders.store,
    format(
      'order %s is due %s of %s at %s, took %s and waits for %s', orders.id, items.due, items.sku,
      items.site, items.taken, items.held
    )
  from (
    select distinct units.store, coalesce(units.shopify_order_gid, units.id) as id
    from public.orders as units
    where units.stage <> 'Complete' and units.cancelled_at is null
    union all
    select heads.store, heads.gid
    from public.shopify_orders as heads
    where heads.cancelled_at is null and heads.updated_at > app.now() - interval '30 days'
    and app.units_of(heads.store, heads.gid) = '{}'
  ) as orders
  cross join lateral (
    select
      catalog.sku, coalesce(due.site, booked.site) as site, coalesce(due.quantity, 0) as due,
      coalesce(booked.taken, 0) as taken, coalesce(booked.held, 0) as held,
      coalesce(due.is_optional, false) as is_optional
    from app.stock_due(
      orders.store, orders.id, app.units_of(orders.store, orders.id)
    ) as due
    full join app.stock_booked(orders.store, orders.id) as booked
      on booked.item_id = due.item_id and booked.site = due.site
    inner join public.inventory_items as catalog
      on catalog.id = coalesce(due.item_id, booked.item_id)
  ) as items
  where items.due <> items.taken + items.held
  and not (items.is_optional and items.due > items.taken)
  and (app.order_head(orders.store, orders.id)).created_at
  >= (select app.starts_of('inventory_txn'));
$$;
comment on function app.stock_audit is
'Returns what is wrong with the stock: every violation of the three invariants, and each open order that has other stock than it is due. A changed recipe, item or keyword leaves such orders, until they change or resettle_order settles them.';

select app.register_invariant('stock', 'audit_stock');
select app.register_invariant('holds', 'audit_holds');
select app.register_invariant('returned_stock', 'audit_returned_stock');

select app.assert_grants();
commit;
