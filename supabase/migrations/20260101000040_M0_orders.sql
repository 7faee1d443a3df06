-- M0 orders: one row per cake, partitioned by store, and the events of each order, by month.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('public.stage_type') is null then
    create type public.stage_type as enum (
      'Filling', 'Covering', 'Decorating', 'Packing', 'Complete'
    );
  end if;
  if to_regtype('public.event_type') is null then
    create type public.event_type as enum (
      'create', 'print', 'start', 'complete', 'assign', 'unassign', 'qc_return', 'cancel', 'edit',
      'shortage'
    );
  end if;
end;
$$;
comment on type public.stage_type is 'The stages of an order, in the order of the work.';
comment on type public.event_type is 'The kinds of events of an order.';

create table if not exists public.orders (
  store text not null references public.stores (code),
  id text not null,
  row_id uuid not null default gen_random_uuid(),
  shopify_order_id bigint,
  shopify_order_gid app.code,
  shopify_order_number integer,
  suffix text check (suffix ~ '^[A-Z]{1,3}$'),
  human_id app.code,
  product_title app.label,
  flavour app.label,
  size app.label,
  size_rank smallint not null generated always as (app.size_rank(size)) stored,
  notes app.note,
  cake_writing app.note,
  product_image app.contact,
  storage app.label,
  delivery_method text check (delivery_method in ('pickup', 'delivery', 'manual')),
  item_qty integer not null default 1 check (item_qty > 0),
  currency text check (currency ~ '^[A-Z]{3}$'),
  total_amount numeric(12, 2) check (total_amount >= 0),
  order_json jsonb,
  accessories jsonb not null default '[]' check (jsonb_typeof(accessories) = 'array'),
  stage public.stage_type not null default 'Filling',
  priority smallint not null check (priority between 1 and 3),
  priority_override smallint check (priority_override between 1 and 3),
  queue_key text collate "C" not null,
  due_date date,
  due_date_text app.note,
  needs_attention app.note,
  assignee_id uuid references public.staff_shared (user_id) on delete set null,
  filling_start_ts timestamptz,
  filling_complete_ts timestamptz,
  covering_start_ts timestamptz,
  covering_complete_ts timestamptz,
  decorating_start_ts timestamptz,
  decorating_complete_ts timestamptz,
  packing_start_ts timestamptz,
  packing_complete_ts timestamptz,
  is_pos boolean not null default false,
  cancelled_at timestamptz,
  cancelled_by uuid,
  cancel_reason app.note,
  is_open boolean not null generated always as (
    stage <> 'Complete' and cancelled_at is null and not is_pos
  ) stored,
  created_by uuid,
  updated_by uuid,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  primary key (store, id),
  unique (row_id, store),
  constraint orders_id_check check (
    starts_with(id, store || '-') and length(id) <= 100
    and id ~ '^[a-z][a-z0-9_]*-[A-Za-z0-9]+(-[A-Z]+)?$'
  ),
  constraint orders_id_suffix_check check (right(id, length(suffix) + 1) = '-' || suffix),
  constraint orders_cancel_check check (
    cancelled_at is not null or (cancelled_by is null and cancel_reason is null)
  )
) partition by list (store);
create table if not exists public.orders_bannos partition of public.orders for values in ('bannos');
create table if not exists public.orders_flourlane
partition of public.orders for values in ('flourlane');
-- Only the smoke walk has orders here, and rolls them back. The check also proves to ATTACH that no
-- row belongs to the new partition, so ATTACH does not read the rows.
create table if not exists public.orders_default partition of public.orders (
  constraint orders_default_store_check check (store = 'smoke')
) default;
alter table public.orders enable row level security;
alter table public.orders_bannos enable row level security;
alter table public.orders_flourlane enable row level security;
alter table public.orders_default enable row level security;
-- one row per unit of a Shopify order, so that a repeated delivery cannot add the unit again
create unique index if not exists orders_unit_key
on public.orders (store, shopify_order_gid, suffix) nulls not distinct
where shopify_order_gid is not null;
-- for the queue and its filters: each index sorts like the queue
create index if not exists orders_queue_idx on public.orders (queue_key) where is_open;
create index if not exists orders_stage_idx on public.orders (stage, queue_key) where is_open;
create index if not exists orders_assignee_idx on public.orders (assignee_id, is_open, queue_key)
where assignee_id is not null;
create index if not exists orders_storage_idx on public.orders (storage, queue_key)
where is_open and storage is not null;
-- sorts by due date: the queue key begins with the priority, and substr leaves that out
create index if not exists orders_due_idx on public.orders (substr(queue_key, 3)) where is_open;
-- complete orders by time of completion
create index if not exists orders_complete_idx
on public.orders ((app.moment_key(packing_complete_ts) || ' ' || id) collate "C")
where stage = 'Complete' and cancelled_at is null and not is_pos;
create index if not exists orders_number_idx
on public.orders (shopify_order_number desc nulls last, id);
comment on table public.orders is
'One row per cake, for all stores. Only RPCs write here. Ids never change.';
comment on table public.orders_bannos is
'Partition of orders for the store bannos. Read orders instead.';
comment on table public.orders_flourlane is
'Partition of orders for the store flourlane. Read orders instead.';
comment on table public.orders_default is
'Partition of orders for the store of the smoke walk. Every other store has a partition of its own. Read orders instead.';
comment on column public.orders.id is
'The scanner id in the barcode: bannos-12345, or bannos-12345-B for a unit of a split order.';
comment on column public.orders.row_id is
'A second id, for links that must not show the order number.';
comment on column public.orders.shopify_order_number is
'The number on the docket, also for a manual order. All units of a split order have the same number.';
comment on column public.orders.suffix is
'The letter of a unit of a split order: A to Z, then AA, AB. Null: the order is a single cake.';
comment on column public.orders.size_rank is 'The sort key of the size (app.size_rank).';
comment on column public.orders.total_amount is
'The total of the whole order, stored on one unit only, so that sums are right.';
comment on column public.orders.order_json is
'The line of the Shopify order that the cake was made from, as app.shopify_line reads it. Has no personal data.';
comment on column public.orders.priority is
'1 Low, 2 Medium, 3 High. A trigger sets the value from the override, else from the due date.';
comment on column public.orders.queue_key is
'The place in the queue, as text that sorts: priority (1 is High), due date, size rank, number, id. A trigger sets the text.';
comment on column public.orders.due_date is 'Null if unknown. The date is never guessed.';
comment on column public.orders.due_date_text is
'The due date in the exact words of the Shopify order.';
comment on column public.orders.needs_attention is
'The reasons why a person must look at this order. Null: no reason.';
comment on column public.orders.is_pos is
'True if the order was sold over the counter and needs no work.';
comment on column public.orders.cancelled_at is
'The time of the cancellation. The stage does not change.';
comment on column public.orders.is_open is
'True if the order needs work: not complete, not cancelled, not sold over the counter.';
comment on column public.orders.created_by is
'The account that created the order. Null: the service.';

grant select on table public.orders to authenticated;

create sequence if not exists public.stage_events_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.stage_events (
  id bigint not null default (app.first_id() + nextval('public.stage_events_id_seq')),
  store text not null,
  order_id text not null,
  stage public.stage_type not null,
  event_type public.event_type not null,
  at_ts timestamptz not null default app.now(),
  staff_id uuid references public.staff_shared (user_id),
  ok boolean,
  meta jsonb not null default '{}' check (jsonb_typeof(meta) = 'object'),
  primary key (id, at_ts),
  foreign key (store, order_id) references public.orders (store, id)
) partition by range (at_ts);
alter sequence public.stage_events_id_seq owned by public.stage_events.id;
create index if not exists stage_events_order_idx on public.stage_events (store, order_id, at_ts);
create index if not exists stage_events_staff_idx on public.stage_events (staff_id, at_ts desc);
create index if not exists stage_events_stage_idx on public.stage_events (store, stage, at_ts desc);
alter table public.stage_events enable row level security;
comment on table public.stage_events is
'The events of each order, by month. Append-only. Measure durations here, because orders has only the latest timestamps.';
comment on column public.stage_events.stage is 'The stage of the order at the time of the event.';
comment on column public.stage_events.staff_id is
'The member of staff who caused the event. Null: the service.';
comment on column public.stage_events.ok is
'The result of the event: true or false. Null: the event has no result.';
grant select on table public.stage_events to authenticated;

create or replace function app.forbid_identity_change()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    'BAD_INPUT', format('Cannot change the id, row id or store of order %s.', old.id),
    jsonb_build_object('order_id', old.id, 'store', old.store)
  );
  return null;
end;
$$;
comment on function app.forbid_identity_change is
'Trigger: rejects a new id, row id or store, because printed barcodes carry the id. Raises BAD_INPUT.';

create or replace function app.refresh_priorities(p_store text)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_today date := app.today(p_store);
  v_count integer;
begin
  update public.orders as orders
  set priority = app.priority_rank(orders.due_date, v_today)
  from ( -- locks in the order of ids, as every function that locks several orders
    select dated.id
    from public.orders as dated
    where dated.store = p_store and dated.is_open and dated.priority_override is null
    and dated.priority <> app.priority_rank(dated.due_date, v_today)
    order by dated.id
    for no key update
  ) as stale
  where orders.store = p_store and orders.id = stale.id;
  get diagnostics v_count = row_count;
  if v_count > 0 then
    perform app.audit('refresh_priorities', p_store, null, jsonb_build_object('orders', v_count));
  end if;
  return v_count;
end;
$$;
comment on function app.refresh_priorities is
'Sets the priority of the open orders of a store for the current date there. Returns how many changed.

Skips orders with an override. Raises BAD_INPUT for an unknown store.';

create or replace function app.audit_order_keys()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    orders.store,
    format('order %s has priority %s and queue key %s', orders.id, orders.priority, orders.queue_key)
  from public.orders as orders
  where orders.priority <> orders.priority_override
  or orders.queue_key <> app.queue_key(
    orders.priority, orders.due_date, orders.size, orders.shopify_order_number, orders.id
  );
$$;
comment on function app.audit_order_keys is
'Invariant: an order has the priority of its override, and the queue key of its columns.';

create or replace function app.audit_order_events()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    orders.store,
    format(
      'order %s has %s create and %s cancel events, and is %s', orders.id,
      coalesce(told.created, 0), coalesce(told.cancelled, 0),
      coalesce('cancelled at ' || orders.cancelled_at, 'not cancelled')
    )
  from public.orders as orders
  left join (
    select
      events.store, events.order_id,
      count(*) filter (where events.event_type = 'create') as created,
      count(*) filter (where events.event_type = 'cancel') as cancelled,
      max(events.at_ts) filter (where events.event_type = 'cancel') as cancelled_at
    from public.stage_events as events
    group by events.store, events.order_id
  ) as told on told.store = orders.store and told.order_id = orders.id
  where orders.created_at >= (select app.starts_of('stage_events'))
  and (
    told.created is distinct from 1 or told.cancelled > 1
    or told.cancelled_at is distinct from orders.cancelled_at
  );
$$;
comment on function app.audit_order_events is
'Invariant: an order has one create event. A cancelled order has one cancel event, of the same time. Skips orders from before the start of stage_events.';

create or replace function app.add_store_partition(p_store text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.add_partition('orders', 'orders_' || p_store, format('for values in (%L)', p_store));
end;
$$;
comment on function app.add_store_partition is
'Adds the partition for the orders of a store. Raises BUSY, as app.add_partition does.';

create or replace function app.partition_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'critical', 'NO_PARTITION', stores.created_at, stores.code,
    format('The store %s has no partition, so it cannot take orders.', stores.code),
    format('As the migration role: select app.add_store_partition(''%s'')', stores.code)
  from public.stores as stores
  where to_regclass(format('public.orders_%s', stores.code)) is null;
$$;
comment on function app.partition_alerts is
'Alerts: NO_PARTITION, a store without a partition for its orders.';

create or replace trigger orders_forbid_identity_change
before update of store, id, row_id on public.orders
for each row
when ((old.store, old.id, old.row_id) is distinct from (new.store, new.id, new.row_id))
execute function app.forbid_identity_change();
create or replace trigger orders_set_priority
before insert or update of due_date, priority_override on public.orders
for each row execute function app.set_priority();
create or replace trigger orders_set_queue_key
before insert or update of priority, priority_override, due_date, size, shopify_order_number
on public.orders
for each row execute function app.set_queue_key();
create or replace trigger orders_set_updated_at before update on public.orders
for each row execute function app.set_updated_at();
create or replace trigger stage_events_append_only
before update or delete or truncate on public.stage_events
for each statement execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'orders_select_authenticated') then
    create policy orders_select_authenticated on public.orders
    for select to authenticated
    using ((select app.is_staff()) and store = any ((select app.my_stores())::text[]));
  end if;
  if not exists (
    select from pg_policies where policyname = 'stage_events_select_authenticated'
  ) then
    create policy stage_events_select_authenticated on public.stage_events
    for select to authenticated
    using ((select app.is_staff()) and store = any ((select app.my_stores())::text[]));
  end if;
end;
$$;

select app.register_task('refresh_priorities', 'day', 'refresh_priorities');
select app.register_invariant('order_events', 'audit_order_events');
select app.register_invariant('order_keys', 'audit_order_keys');
select app.register_hook('alerts', 30, 'partition_alerts');
select app.register_monthly_table('stage_events', 36);

select app.assert_grants();
commit;
