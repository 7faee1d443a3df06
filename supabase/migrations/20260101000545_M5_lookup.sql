-- M5 lookup: find orders, and read one order and its history.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.find_order(p_search text)
returns table (
  id text, order_number integer, product_title text, size text, customer_name text, storage text,
  stage public.stage_type, priority text, delivery_method text, due_date date, assignee_name text,
  store text, cancelled_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'auto'
as $$
declare
  v_caller app.caller := app.require('Staff', null, true);
  v_pattern text := app.search_pattern(p_search);
  v_open text[] := app.search_order_ids(v_pattern, true, 1000);
  v_done text[] := app.search_order_ids(v_pattern, false, 10000);
  v_ids text[] := case when v_open is not null and v_done is not null then v_open || v_done end;
begin
  if v_pattern is null then
    perform app.fail('BAD_INPUT', 'p_search must not be empty.');
  end if;
  perform set_config('plan_cache_mode', 'force_custom_plan', true); -- for this call only
  return query
  select
    found.id, found.shopify_order_number, found.product_title::text, found.size::text,
    contacts.customer_name::text, found.storage::text, found.stage,
    app.priority_label(found.priority), found.delivery_method, found.due_date,
    staff.full_name::text, found.store, found.cancelled_at
  from (
    select
      orders.id, orders.shopify_order_gid, orders.shopify_order_number, orders.product_title,
      orders.size, orders.storage, orders.stage, orders.priority, orders.delivery_method,
      orders.due_date, orders.assignee_id, orders.store, orders.cancelled_at
    from public.orders as orders
    where orders.store = any(v_caller.stores) and not orders.is_pos
    and (v_ids is null or orders.id = any((select v_ids)::text[]))
    and (v_ids is not null or (
      select known.words from app.order_words as known
      where known.store = orders.store and known.id = orders.id
    ) like v_pattern)
    order by orders.shopify_order_number desc nulls last, orders.id
    limit 10
  ) as found
  left join public.order_contacts as contacts
    on contacts.store = found.store
    and contacts.order_gid = coalesce(found.shopify_order_gid, found.id)
  left join public.staff_shared as staff on staff.user_id = found.assignee_id
  order by found.shopify_order_number desc nulls last, found.id;
end;
$$;
comment on function public.find_order is
'Returns up to ten orders that match part of a customer, product, number or id, in any case. The newest number comes first.

Finds orders in any stage. Also finds cancelled orders, which have cancelled_at. Leaves out orders sold over the counter.

Role: Staff or service_role. Errors: BAD_INPUT (nothing to look for).';
grant execute on function public.find_order to authenticated, service_role;

create or replace function public.get_order_v2(p_order_id text, p_store text default null)
returns table (
  id text, shopify_order_id bigint, shopify_order_gid text, shopify_order_number integer,
  suffix text, human_id text, customer_name text, product_title text, flavour text, size text,
  item_qty integer, notes text, cake_writing text, product_image text, delivery_method text,
  due_date date, stage public.stage_type, priority text, priority_override text, storage text,
  assignee_id uuid, assignee_name text, store text, currency text, total_amount numeric,
  created_at timestamptz, updated_at timestamptz, filling_start_ts timestamptz,
  filling_complete_ts timestamptz, covering_start_ts timestamptz,
  covering_complete_ts timestamptz, decorating_start_ts timestamptz,
  decorating_complete_ts timestamptz, packing_start_ts timestamptz,
  packing_complete_ts timestamptz, cancelled_at timestamptz, cancel_reason text,
  needs_attention text, inventory_blocked boolean, accessories jsonb, shipping_address jsonb
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_order('Staff', p_order_id, p_store);
  v_store text := app.store_of(p_order_id);
begin
  return query
  select
    orders.id, orders.shopify_order_id, orders.shopify_order_gid::text,
    orders.shopify_order_number, orders.suffix, orders.human_id::text, contacts.customer_name::text,
    orders.product_title::text, orders.flavour::text, orders.size::text, orders.item_qty,
    orders.notes::text, orders.cake_writing::text, orders.product_image::text,
    orders.delivery_method, orders.due_date, orders.stage, app.priority_label(orders.priority),
    app.priority_label(orders.priority_override), orders.storage::text, orders.assignee_id,
    staff.full_name::text, orders.store, orders.currency, orders.total_amount, orders.created_at,
    orders.updated_at, orders.filling_start_ts, orders.filling_complete_ts,
    orders.covering_start_ts, orders.covering_complete_ts, orders.decorating_start_ts,
    orders.decorating_complete_ts, orders.packing_start_ts, orders.packing_complete_ts,
    orders.cancelled_at, orders.cancel_reason::text, orders.needs_attention::text,
    orders.inventory_blocked, orders.accessories,
    case
      when v_caller.role >= 'Supervisor' or orders.stage = 'Packing'
        or orders.assignee_id = v_caller.user_id
      then (
        select jsonb_object_agg(parts.name, coalesce(
          contacts.address ->> parts.name, contacts.address ->> parts.in_graphql,
          contacts.address ->> (parts.in_graphql || 'V2')
        ))
        from (
          values
          ('first_name', 'firstName'), ('last_name', 'lastName'), ('name', 'name'),
          ('company', 'company'), ('address1', 'address1'), ('address2', 'address2'),
          ('city', 'city'), ('province', 'province'), ('province_code', 'provinceCode'),
          ('country', 'country'), ('country_code', 'countryCode'), ('zip', 'zip'),
          ('phone', 'phone')
        ) as parts (name, in_graphql)
        where jsonb_typeof(contacts.address) = 'object'
      )
    end
  from public.orders as orders
  left join public.order_contacts as contacts
    on contacts.store = orders.store
    and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
  left join public.staff_shared as staff on staff.user_id = orders.assignee_id
  where orders.store = v_store and orders.id = p_order_id;
  if not found then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
end;
$$;
comment on function public.get_order_v2 is
'Returns one order with its accessories and, for some callers, its shipping address.

Supervisors and the assignee see shipping_address. While the order is in Packing, all staff see shipping_address. In other cases, or without an address from the customer, the value is null.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.get_order_v2 to authenticated;

create or replace function public.get_order(p_order_id text, p_store text default null)
returns table (
  id text, shopify_order_id bigint, shopify_order_gid text, shopify_order_number integer,
  suffix text, human_id text, customer_name text, product_title text, flavour text, size text,
  item_qty integer, notes text, cake_writing text, product_image text, delivery_method text,
  due_date date, stage public.stage_type, priority text, storage text, assignee_id uuid,
  assignee_name text, store text, currency text, total_amount numeric, created_at timestamptz,
  updated_at timestamptz, covering_start_ts timestamptz, decorating_start_ts timestamptz,
  cancelled_at timestamptz, needs_attention text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    known.id, known.shopify_order_id, known.shopify_order_gid, known.shopify_order_number,
    known.suffix, known.human_id, known.customer_name, known.product_title, known.flavour,
    known.size, known.item_qty, known.notes, known.cake_writing, known.product_image,
    known.delivery_method, known.due_date, known.stage, known.priority, known.storage,
    known.assignee_id, known.assignee_name, known.store, known.currency, known.total_amount,
    known.created_at, known.updated_at, known.covering_start_ts, known.decorating_start_ts,
    known.cancelled_at, known.needs_attention
  from public.get_order_v2(p_order_id, p_store) as known;
end;
$$;
comment on function public.get_order is
'Returns one order, in any stage. Also returns a cancelled order.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.get_order to authenticated;

create or replace function public.get_order_history(p_order_id text, p_store text default null)
returns table (
  event_id bigint, at_ts timestamptz, event_type public.event_type, stage public.stage_type,
  round integer, entered_at timestamptz, seconds_in_stage bigint, leaves_stage boolean,
  staff_id uuid, staff_name text, ok boolean, meta jsonb
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_created_at timestamptz;
begin
  perform app.require_order('Staff', p_order_id, p_store);
  select orders.created_at into v_created_at
  from public.orders as orders where orders.store = v_store and orders.id = p_order_id;
  if not found then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
  return query
  with events as (
    select
      trail.id, trail.at_ts, trail.event_type, trail.stage, trail.staff_id, trail.ok, trail.meta,
      exists (
        select from app.stage_transitions as moves
        where moves.event = trail.event_type and moves.from_stage = trail.stage
        and moves.to_stage <> moves.from_stage
      ) as leaves
    from public.stage_events as trail
    where trail.store = v_store and trail.order_id = p_order_id
    and trail.at_ts >= v_created_at - interval '1 day' -- reads no month before
  ),
  numbered as ( -- numbers the visits to stages: an event that leaves the stage ends a visit
    select
      events.id, events.leaves, events.stage, events.at_ts,
      count(*) filter (where events.leaves) over (order by events.id)
      - events.leaves::integer as visit
    from events
  ),
  visits as (
    select
      numbered.visit,
      row_number() over (partition by min(numbered.stage) order by numbered.visit) as round,
      coalesce(
        lag(max(numbered.at_ts) filter (where numbered.leaves)) over (order by numbered.visit),
        min(numbered.at_ts)
      ) as entered_at
    from numbered
    group by numbered.visit
  )
  select
    events.id, events.at_ts, events.event_type, events.stage, visits.round::integer,
    visits.entered_at,
    greatest(extract(epoch from events.at_ts - visits.entered_at), 0)::bigint,
    events.leaves, events.staff_id, staff.full_name::text, events.ok, events.meta
  from events
  inner join numbered on numbered.id = events.id
  inner join visits on visits.visit = numbered.visit
  left join public.staff_shared as staff on staff.user_id = events.staff_id
  order by events.id;
end;
$$;
comment on function public.get_order_history is
'Returns the events of an order, oldest first, and the time that each stage took.

entered_at is the time when the order came to the stage. seconds_in_stage is the time from entered_at to the event. Where leaves_stage is true, seconds_in_stage is the time that the stage took. round is 2 on the second visit to a stage, for example after a return from quality control. A null staff_id means the service. The meta of an edit has the old and the new values. A changed name of the customer is only mentioned, in contact.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.get_order_history to authenticated;

select app.assert_grants();
commit;
