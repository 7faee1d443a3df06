-- M0 tally: how many orders stand where, known without counting them.
--
-- Creates: app.order_tally, app.tally_order, app.fold_tally
-- Needs: nothing
-- Re-run: safe, each statement converges
--
-- A counter that every stage move updates would let one move through at a time. So a move only
-- appends its minus one and its plus one, and whoever reads adds up; the tick folds many rows into
-- few. A sum is exact in every snapshot, with what the transaction itself has done.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Tables
create table if not exists app.order_tally (
  store text not null,
  stage public.stage_type not null,
  priority smallint not null,
  assigned boolean not null,
  orders bigint not null
);
alter table app.order_tally enable row level security;
comment on table app.order_tally is
'Orders by where they stand, as changes to add up; without the cancelled and those over the counter. No key and no index: it is appended to, and read whole.';
comment on column app.order_tally.orders is 'So many more, or fewer.';

-- Functions, internal
create or replace function app.tally_order()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  insert into app.order_tally (store, stage, priority, assigned, orders)
  select was.store, was.stage, was.priority, was.assigned, was.orders
  from (
    values
    (
      old.store, old.stage, old.priority, old.assignee_id is not null, -1,
      old.cancelled_at is null and not old.is_pos
    ),
    (
      new.store, new.stage, new.priority, new.assignee_id is not null, 1,
      new.cancelled_at is null and not new.is_pos
    )
  ) as was (store, stage, priority, assigned, orders, counts)
  where was.counts;
  return null;
end;
$$;
comment on function app.tally_order() is
'Trigger: one fewer where the order stood, one more where it stands.';

create or replace function app.fold_tally()
returns integer
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_count integer := 0;
begin
  if exists (
    select from app.order_tally as tally
    group by tally.store, tally.stage, tally.priority, tally.assigned having count(*) > 1
  ) then
    with gone as (
      delete from app.order_tally as tally where true
      returning tally.store, tally.stage, tally.priority, tally.assigned, tally.orders
    )
    insert into app.order_tally (store, stage, priority, assigned, orders)
    select gone.store, gone.stage, gone.priority, gone.assigned, sum(gone.orders)
    from gone
    group by gone.store, gone.stage, gone.priority, gone.assigned
    having sum(gone.orders) <> 0;
    get diagnostics v_count = row_count;
  end if;
  return v_count;
end;
$$;
comment on function app.fold_tally() is
'Add up the tally, one row for each place that orders stand in; how many rows it wrote. It takes only rows that it sees, so moves go on meanwhile, and none is lost or counted twice.';

-- Triggers
create or replace trigger orders_tally
after insert or delete on public.orders
for each row execute function app.tally_order();
create or replace trigger orders_tally_change
after update on public.orders
for each row
when ((
  old.stage, old.priority, old.assignee_id is null, old.cancelled_at is null and not old.is_pos
) is distinct from (
  new.stage, new.priority, new.assignee_id is null, new.cancelled_at is null and not new.is_pos
))
execute function app.tally_order();

-- what was there before: nobody writes orders until the triggers are committed
insert into app.order_tally (store, stage, priority, assigned, orders)
select
  orders.store,
  orders.stage,
  orders.priority,
  orders.assignee_id is not null as assigned,
  count(*) as orders
from public.orders as orders
where
  orders.cancelled_at is null and not orders.is_pos
  and not exists (select from app.order_tally)
group by orders.store, orders.stage, orders.priority, orders.assignee_id is not null;

-- Grants
revoke all on table app.order_tally from public, anon, authenticated, service_role;
revoke all on function app.tally_order(), app.fold_tally()
from public, anon, authenticated, service_role;

select app.assert_grants();

commit;
