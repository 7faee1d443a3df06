-- M0 orders: one row per cake, partitioned by store.
--
-- Needs: nothing

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Types
do $$
begin
  if to_regtype('public.stage_type') is null then
    create type public.stage_type as enum (
      'Filling', 'Covering', 'Decorating', 'Packing', 'Complete'
    );
  end if;
end;
$$;
comment on type public.stage_type is 'Where a cake is, from first filling to packed box.';

-- Functions, internal; the table computes a column and an index with them
create or replace function app.size_rank(p_size text)
returns smallint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return
    case split_part(lower(btrim(p_size)), ' ', 1)
      when 'gift' then 0
      when 's' then 2 when 'small' then 2
      when 'm' then 4 when 'medium' then 4
      when 'l' then 6 when 'large' then 6
      else 8
    end
    + case when lower(p_size) ~ '\mtall\M' then 1 else 0 end;
end;
$$;
comment on function app.size_rank is
'Sizes in the order of the bakery: Gift, Small, Small Tall, Medium, Medium Tall, Large, Large Tall, others.

orders.size_rank stores the answer: a change here needs a rewrite of that column.';

create or replace function app.priority_rank(p_due date, p_today date)
returns smallint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_due - p_today <= 1 then 3 when p_due - p_today <= 3 then 2 else 1 end;
end;
$$;
comment on function app.priority_rank is
'How urgent an order is: 3 with at most a day left, 2 with at most three, else 1.

An order without a due date is not urgent but in doubt: it ranks 1, and needs_attention says why.';

create or replace function app.priority_label(p_rank smallint)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_rank when 1 then 'Low' when 2 then 'Medium' when 3 then 'High' end;
end;
$$;
comment on function app.priority_label is
'What people call a priority rank. Sort by the rank, never by this.';

create or replace function app.day_key(p_day date)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_day is null then '99999999'
    else to_char(least(greatest(p_day, '0001-01-01'), '9999-12-31')::timestamp, 'YYYYMMDD')
  end;
end;
$$;
comment on function app.day_key is 'A day as text that sorts; no day comes last.';

create or replace function app.moment_key(p_moment timestamptz)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(to_char(p_moment at time zone 'UTC', 'YYYYMMDDHH24MISSUS'), '');
end;
$$;
comment on function app.moment_key is
'A moment as text that sorts; none comes first. An index is built with it.';

-- Tables
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

-- Functions, for triggers
create or replace function app.set_priority()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.priority := coalesce(
    new.priority_override, app.priority_rank(new.due_date, app.today(new.store))
  );
  return new;
end;
$$;
comment on function app.set_priority is
'Trigger: the priority of an order follows its override, else its due date.';

create or replace function app.set_queue_key()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.queue_key := concat_ws(
    ' ', 4 - new.priority, app.day_key(new.due_date), app.size_rank(new.size),
    lpad(coalesce(new.shopify_order_number, 2147483647)::text, 10, '0'), new.id
  );
  return new;
end;
$$;
comment on function app.set_queue_key is
'Trigger: the place of an order in the queue follows all that the queue is sorted by. It comes after the priority: triggers run by name.';

create or replace function app.keep_identity()
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
comment on function app.keep_identity is
'Trigger: barcodes in the kitchen carry the id, so it never changes. Raises BAD_INPUT.';

-- Triggers
create or replace trigger orders_keep_identity
before update of store, id, row_id on public.orders
for each row
when ((old.store, old.id, old.row_id) is distinct from (new.store, new.id, new.row_id))
execute function app.keep_identity();
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

-- Policies
do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
begin
  if not exists (select from pg_policies where policyname = 'orders_select_authenticated') then
    create policy orders_select_authenticated on public.orders
    for select to authenticated
    using ((select app.is_staff()) and store = any ((select app.my_stores())::text[]));
  end if;
end;
$$;

-- Grants
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

commit;
