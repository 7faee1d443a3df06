-- M0 tally: the number of orders by stage, without counting the orders.
--
-- If every stage move updated a counter, moves would wait for each other. So a move appends -1 and
-- +1, and a reader adds up the rows. A task merges many rows into few. The total is exact in
-- every snapshot and includes the changes of the current transaction.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.order_tally (
  store text not null,
  stage public.stage_type not null,
  priority smallint,
  assignee_id uuid,
  storage app.label,
  orders bigint not null
);
-- With an index for a key, every stage move would write more. Only app.fold_tally deletes.
alter table app.order_tally replica identity full;
alter table app.order_tally enable row level security;
comment on table app.order_tally is
'The number of orders by stage, as changes to add up. Cancelled orders and orders sold over the counter do not count. Has no key and no index, because writers append and readers read all rows.';
comment on column app.order_tally.priority is
'Set for open orders only, like assignee_id and storage. The complete orders of a store are one group.';
comment on column app.order_tally.orders is
'The number of orders that were added, negative for removed orders.';

create or replace function app.tally_order()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin -- plain inserts, because every stage move runs this trigger
  if tg_op <> 'INSERT' and old.cancelled_at is null and not old.is_pos then
    if old.is_open then
      insert into app.order_tally (store, stage, priority, assignee_id, storage, orders)
      values (old.store, old.stage, old.priority, old.assignee_id, old.storage, -1);
    else
      insert into app.order_tally (store, stage, orders) values (old.store, old.stage, -1);
    end if;
  end if;
  if tg_op <> 'DELETE' and new.cancelled_at is null and not new.is_pos then
    if new.is_open then
      insert into app.order_tally (store, stage, priority, assignee_id, storage, orders)
      values (new.store, new.stage, new.priority, new.assignee_id, new.storage, 1);
    else
      insert into app.order_tally (store, stage, orders) values (new.store, new.stage, 1);
    end if;
  end if;
  return null;
end;
$$;
comment on function app.tally_order is
'Trigger: appends -1 for the old values of an order and +1 for the new values.';

create or replace function app.fold_tally()
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer := 0;
begin
  if exists (
    select from app.order_tally as tally
    group by tally.store, tally.stage, tally.priority, tally.assignee_id, tally.storage
    having count(*) > 1
  ) then
    with gone as (
      delete from app.order_tally as tally where true
      returning
        tally.store, tally.stage, tally.priority, tally.assignee_id, tally.storage, tally.orders
    )
    insert into app.order_tally (store, stage, priority, assignee_id, storage, orders)
    select
      gone.store, gone.stage, gone.priority, gone.assignee_id, gone.storage, sum(gone.orders)
    from gone
    group by gone.store, gone.stage, gone.priority, gone.assignee_id, gone.storage
    having sum(gone.orders) <> 0;
    get diagnostics v_count = row_count;
  end if;
  return v_count;
end;
$$;
comment on function app.fold_tally is
'Merges the tally into one row per group. Returns the number of written rows.

Merges only rows that this snapshot sees. Concurrent moves do not wait, and none is lost or counted twice.';

create or replace function app.count_orders()
returns table (
  store text, stage public.stage_type, priority smallint, assignee_id uuid, storage text,
  orders bigint
)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    orders.store, orders.stage, case when orders.is_open then orders.priority end,
    case when orders.is_open then orders.assignee_id end,
    case when orders.is_open then orders.storage end, count(*)
  from public.orders as orders
  where orders.cancelled_at is null and not orders.is_pos
  group by 1, 2, 3, 4, 5;
$$;
comment on function app.count_orders is
'Counts the orders themselves, in the groups of the tally. Reads every order.';

create or replace function app.audit_order_tally()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    parts.store,
    format(
      'the tally counts %s too many in %s, priority %s, assignee %s, storage %s',
      sum(parts.orders), parts.stage, parts.priority, parts.assignee_id, parts.storage
    )
  from (
    select
      tally.store, tally.stage, tally.priority, tally.assignee_id, tally.storage, tally.orders
    from app.order_tally as tally
    union all
    select
      counted.store, counted.stage, counted.priority, counted.assignee_id, counted.storage,
      -counted.orders
    from app.count_orders() as counted
  ) as parts
  group by parts.store, parts.stage, parts.priority, parts.assignee_id, parts.storage
  having sum(parts.orders) <> 0;
$$;
comment on function app.audit_order_tally is 'Invariant: the tally counts the orders.';

create or replace trigger orders_tally after insert or delete on public.orders
for each row execute function app.tally_order();
create or replace trigger orders_tally_change
after update on public.orders
for each row
when ((
  old.stage, old.priority, old.assignee_id, old.storage, old.cancelled_at is null, old.is_pos
) is distinct from (
  new.stage, new.priority, new.assignee_id, new.storage, new.cancelled_at is null, new.is_pos
))
execute function app.tally_order();

-- Count existing orders. No write comes between, because create trigger has locked the table.
insert into app.order_tally (store, stage, priority, assignee_id, storage, orders)
select
  counted.store,
  counted.stage,
  counted.priority,
  counted.assignee_id,
  counted.storage,
  counted.orders
from app.count_orders() as counted
where not exists (select from app.order_tally);

select app.register_task('fold_tally', 'tick', 'fold_tally');
select app.register_invariant('order_tally', 'audit_order_tally');

select app.assert_grants();
commit;
