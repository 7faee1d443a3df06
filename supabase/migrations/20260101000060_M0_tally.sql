-- M0 tally: how many orders stand where, known without counting them.
--
-- A counter that every stage move updates would let one move through at a time. So a move only
-- appends its minus one and its plus one, and a reader adds up. app.tick folds many rows into few.
-- The sum is exact in every snapshot, the transaction's own changes included.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.order_tally (
  store text not null,
  stage public.stage_type not null,
  priority smallint,
  assignee_id uuid,
  storage text,
  orders bigint not null
);
alter table app.order_tally enable row level security;
comment on table app.order_tally is
'Orders by where they stand, as changes to add up; without the cancelled and those sold over the counter. No key and no index: it is appended to, and read whole.';
comment on column app.order_tally.priority is
'Like the assignee and the storage of open orders only: the complete are one number a store.';
comment on column app.order_tally.orders is 'So many more, or fewer.';

create or replace function app.tally_order()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin -- each a plain insert: of a stage move, this is what costs
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
'Trigger: one fewer where the order stood, one more where it stands.';

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
'Add up the tally, one row for each place where orders stand; how many rows it wrote. It takes only rows that it sees, so moves go on meanwhile, and none is lost or counted twice.';

create or replace trigger orders_tally
after insert or delete on public.orders
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

-- what was there before: nobody writes orders until the triggers are committed
insert into app.order_tally (store, stage, priority, assignee_id, storage, orders)
select
  orders.store,
  orders.stage,
  case when orders.is_open then orders.priority end as priority,
  case when orders.is_open then orders.assignee_id end as assignee_id,
  case when orders.is_open then orders.storage end as storage,
  count(*) as orders
from public.orders as orders
where
  orders.cancelled_at is null and not orders.is_pos
  and not exists (select from app.order_tally)
group by 1, 2, 3, 4, 5;

select app.register_task('fold_tally', 'tick', 'fold_tally');

select app.assert_grants();

commit;
