-- M0 orders: one row per cake, partitioned by store, and everything that happened to it.

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
comment on type public.stage_type is 'Where a cake is, from first filling to packed box.';
comment on type public.event_type is 'What can happen to an order.';

create table if not exists public.orders (
  store text not null references public.stores (code),
  id text not null,
  row_id uuid not null default gen_random_uuid(),
  shopify_order_id bigint,
  shopify_order_gid text,
  shopify_order_number integer,
  suffix text check (suffix ~ '^[A-Z]+$'),
  human_id text,
  customer_name text,
  product_title text,
  flavour text,
  size text,
  size_rank smallint not null generated always as (app.size_rank(size)) stored,
  notes text,
  cake_writing text,
  product_image text,
  storage text,
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
  due_date_text text,
  needs_attention text,
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
  cancel_reason text,
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
    starts_with(id, store || '-') and id ~ '^[a-z][a-z0-9_]*-[A-Za-z0-9]+(-[A-Z]+)?$'
  ),
  constraint orders_id_suffix_check check (right(id, length(suffix) + 1) = '-' || suffix),
  constraint orders_cancel_check check (
    cancelled_at is not null or (cancelled_by is null and cancel_reason is null)
  )
) partition by list (store);
create table if not exists public.orders_bannos
partition of public.orders for values in ('bannos');
create table if not exists public.orders_flourlane
partition of public.orders for values in ('flourlane');
create table if not exists public.orders_default partition of public.orders default;
alter table public.orders enable row level security;
alter table public.orders_bannos enable row level security;
alter table public.orders_flourlane enable row level security;
alter table public.orders_default enable row level security;
-- one row per unit of a Shopify order: a second delivery of it finds its rows taken
create unique index if not exists orders_unit_key
on public.orders (store, shopify_order_gid, suffix) nulls not distinct
where shopify_order_gid is not null;
-- the queue and its filters, each in the order of the queue
create index if not exists orders_queue_idx on public.orders (queue_key) where is_open;
create index if not exists orders_stage_idx on public.orders (stage, queue_key) where is_open;
create index if not exists orders_assignee_idx on public.orders (assignee_id, is_open, queue_key)
where assignee_id is not null;
create index if not exists orders_storage_idx on public.orders (storage, queue_key)
where is_open and storage is not null;
-- by due date: the queue without its first word, the priority
create index if not exists orders_due_idx on public.orders (substr(queue_key, 3)) where is_open;
-- the finished, by completion
create index if not exists orders_complete_idx
on public.orders ((app.moment_key(packing_complete_ts) || ' ' || id) collate "C")
where stage = 'Complete' and cancelled_at is null and not is_pos;
create index if not exists orders_number_idx
on public.orders (shopify_order_number desc nulls last, id);
comment on table public.orders is
'One row per cake, whatever the store. Written by RPCs alone; ids never change.';
comment on table public.orders_bannos is 'Partition of orders: the store bannos. Read orders.';
comment on table public.orders_flourlane is 'Partition of orders: the store flourlane. Read orders.';
comment on table public.orders_default is
'Partition of orders: stores added later, until they get their own. Read orders.';
comment on column public.orders.id is
'The scanner id, what the barcode carries: bannos-12345, or bannos-12345-B for a unit of a split order.';
comment on column public.orders.row_id is 'A surrogate for links that should not show the number.';
comment on column public.orders.shopify_order_number is
'The number on the docket, of a manual order too; units of a split order share it.';
comment on column public.orders.suffix is
'Which unit of a split order: A to Z, AA, AB. Null: the order is a single cake.';
comment on column public.orders.size_rank is 'What to sort sizes by (app.size_rank).';
comment on column public.orders.total_amount is
'The total of the whole order, on its first unit only, so that sums stay right.';
comment on column public.orders.order_json is
'The line item the cake was made from, as Shopify sent it: not granted to anyone.';
comment on column public.orders.priority is
'1 Low, 2 Medium, 3 High. Set by a trigger from the override, else from the due date.';
comment on column public.orders.queue_key is
'Where the order stands in the queue, as text that sorts: priority (1 is High), due date, size rank, number, id. Set by a trigger.';
comment on column public.orders.due_date is 'Null when unknown; never guessed.';
comment on column public.orders.due_date_text is 'What the customer''s order said, word for word.';
comment on column public.orders.needs_attention is 'Why a person has to look at this order.';
comment on column public.orders.is_pos is 'Sold over the counter: nothing to make.';
comment on column public.orders.cancelled_at is 'Cancelled since. The stage stays what it was.';
comment on column public.orders.is_open is
'There is work to do: not complete, not cancelled, not over the counter.';
comment on column public.orders.created_by is 'The account that made the row. Null: the service.';

grant select (
  store, id, row_id, shopify_order_id, shopify_order_gid, shopify_order_number, suffix, human_id,
  customer_name, product_title, flavour, size, size_rank, notes, cake_writing, product_image,
  storage, delivery_method, item_qty, currency, total_amount, accessories, stage, priority,
  priority_override, queue_key, due_date, due_date_text, needs_attention, assignee_id,
  filling_start_ts, filling_complete_ts, covering_start_ts, covering_complete_ts,
  decorating_start_ts, decorating_complete_ts, packing_start_ts, packing_complete_ts, is_pos,
  cancelled_at, cancelled_by, cancel_reason, is_open, created_by, updated_by, created_at,
  updated_at
) on table public.orders to authenticated;

create table if not exists public.stage_events (
  id bigint generated always as identity primary key,
  store text not null,
  order_id text not null,
  stage public.stage_type not null,
  event_type public.event_type not null,
  at_ts timestamptz not null default app.now(),
  staff_id uuid references public.staff_shared (user_id),
  ok boolean,
  meta jsonb not null default '{}' check (jsonb_typeof(meta) = 'object'),
  foreign key (store, order_id) references public.orders (store, id)
);
create index if not exists stage_events_order_idx
on public.stage_events (store, order_id, at_ts);
create index if not exists stage_events_staff_idx
on public.stage_events (staff_id, at_ts desc);
create index if not exists stage_events_stage_idx
on public.stage_events (store, stage, at_ts desc);
alter table public.stage_events enable row level security;
comment on table public.stage_events is
'What happened to each order. Append-only, and the truth about durations: the timestamps of orders are the last round only.';
comment on column public.stage_events.stage is 'The stage the order was in when it happened.';
comment on column public.stage_events.staff_id is 'Who did it. Null: the service.';
comment on column public.stage_events.ok is 'The outcome, where an event has one.';
grant select on table public.stage_events to authenticated;

create or replace function app.forbid_identity_change()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    'BAD_INPUT', format('Order %s keeps its id, its row id and its store.', old.id),
    jsonb_build_object('order_id', old.id, 'store', old.store)
  );
  return null;
end;
$$;
comment on function app.forbid_identity_change is
'Trigger: barcodes in the kitchen carry the id, so it never changes. Raises BAD_INPUT.';

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
  from ( -- locked by id, as whoever locks several orders does
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
    perform app.audit(
      'refresh_priorities', p_store, null, jsonb_build_object('orders', v_count)
    );
  end if;
  return v_count;
end;
$$;
comment on function app.refresh_priorities is
'Rank the open orders of a store by its own today; how many changed. An override stays. Raises BAD_INPUT when there is no such store.';

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
create or replace trigger orders_set_updated_at
before update on public.orders
for each row execute function app.set_updated_at();
create or replace trigger stage_events_append_only
before update or delete or truncate on public.stage_events
for each statement execute function app.append_only();

do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
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

select app.assert_grants();

commit;
