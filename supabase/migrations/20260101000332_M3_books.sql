-- M3 books: that stock, ledger and holds agree.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.audit_stock()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    null,
    format('item %s has %s in stock and %s in its ledger', items.sku, items.on_hand, books.total)
  from public.inventory_items as items
  cross join lateral (
    select coalesce(sum(txn.change_amount), 0) as total
    from public.inventory_txn as txn
    where txn.item_id = items.id
  ) as books
  where items.on_hand <> books.total
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
      coalesce(lag(txn.stock_after) over (partition by txn.item_id order by txn.id), 0) as prior
    from public.inventory_txn as txn
  ) as chain
  where chain.stock_before <> chain.prior;
$$;
comment on function app.audit_stock is
'Invariant: the stock of an item is the total of its ledger, and each row of the ledger begins where the row before ends.';

create or replace function app.audit_holds()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    null,
    format('item %s has %s reserved and %s in open holds', items.sku, items.reserved, waiting.total)
  from public.inventory_items as items
  cross join lateral (
    select coalesce(sum(holds.quantity), 0) as total
    from public.reservation_holds as holds
    where holds.item_id = items.id and holds.released_at is null
  ) as waiting
  where items.reserved <> waiting.total
  union all
  select
    holds.store, format('order %s waits for stock, and all its cakes are cancelled', holds.order_gid)
  from public.reservation_holds as holds
  where holds.released_at is null and not exists (
    select from public.orders as units
    where units.store = holds.store and units.shopify_order_gid = holds.order_gid
    and units.cancelled_at is null
  )
  union all
  select
    holds.store,
    format('order %s has a hold that is %s', holds.order_gid, coalesce(holds.outcome, 'open'))
    || case when taken.id is null then ', and took nothing' else ', and took the item' end
  from public.reservation_holds as holds
  left join public.inventory_txn as taken
    on taken.store = holds.store and taken.order_gid = holds.order_gid
    and taken.item_id = holds.item_id and taken.kind = 'deduct'
  where (taken.change_amount is not distinct from -holds.quantity)
  <> (holds.outcome is not distinct from 'filled')
  union all
  select units.store, format('cake %s has the wrong flag for missing stock', units.id)
  from public.orders as units
  where units.inventory_blocked <> exists (
    select from public.reservation_holds as holds
    where holds.store = units.store and holds.order_gid = units.shopify_order_gid
    and holds.released_at is null
  );
$$;
comment on function app.audit_holds is
'Invariant: reserved stock is the total of the open holds. A hold waits for an order with a cake to make, and a filled hold took its stock. The cakes of an order with an open hold have the flag, and no others.';

create or replace function app.audit_returned_stock()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    books.store,
    format('order %s is cancelled and keeps %s of an item', books.order_gid, -books.total)
  from (
    select txn.store, txn.order_gid, txn.item_id, sum(txn.change_amount) as total
    from public.inventory_txn as txn
    where txn.store is not null
    group by txn.store, txn.order_gid, txn.item_id
    having sum(txn.change_amount) <> 0
  ) as books
  where not exists (
    select from public.orders as units
    where units.store = books.store and units.shopify_order_gid = books.order_gid
    and units.cancelled_at is null
  );
$$;
comment on function app.audit_returned_stock is
'Invariant: an order whose cakes are all cancelled has given back what it took.';

select app.register_invariant('stock', 'audit_stock');
select app.register_invariant('holds', 'audit_holds');
select app.register_invariant('returned_stock', 'audit_returned_stock');

select app.assert_grants();
commit;
