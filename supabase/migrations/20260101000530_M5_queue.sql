-- M5 queue: list the orders that are still to be made.
-- Needs: M4
--
-- Every list is sorted by one text that ends with the id: orders.queue_key, or a similar key.
-- The next page starts after the key of the last row, even if other orders have moved.
-- Each call gets its own plan, so a filter that is not given drops out of the statement.
-- The planner then finds the index with the requested sort order.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.page') is null then
    create type app.page as (first integer, size integer, sort text, direction text, after text);
  end if;
end;
$$;
comment on type app.page is
'The page of a list that a caller asks for. first is the number of rows to skip. after is the sort key to continue after, or null.';

create or replace function app.read_page(
  p_offset integer, p_limit integer, p_sort_by text, p_sort_order text, p_after text, p_sorts text[]
)
returns app.page
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_page app.page;
  v_wrong text[];
begin
  v_page.first := coalesce(p_offset, 0);
  v_page.size := least(coalesce(p_limit, 50), 1000);
  v_page.sort := lower(coalesce(nullif(p_sort_by, ''), p_sorts[1]));
  v_page.direction := upper(coalesce(nullif(p_sort_order, ''), 'DESC'));
  v_page.after := substr(p_after, length(v_page.sort) + 2);
  v_wrong := array_remove(array[
    case when v_page.first < 0 then 'p_offset' end,
    case when v_page.size < 1 then 'p_limit' end,
    case when v_page.sort <> all(p_sorts) then 'p_sort_by' end,
    case when v_page.direction not in ('ASC', 'DESC') then 'p_sort_order' end,
    case
      when not starts_with(p_after, v_page.sort || ':') or v_page.first > 0 and p_after is not null
        then 'p_after'
    end
  ], null);
  if cardinality(v_wrong) > 0 then
    perform app.fail(
      'BAD_INPUT', format('Cannot show this page. Check %s.', array_to_string(v_wrong, ', ')),
      jsonb_build_object('fields', v_wrong, 'sorts', p_sorts)
    );
  end if;
  return v_page;
end;
$$;
comment on function app.read_page is
'Returns the page that the arguments of a list ask for: 50 rows by default, 1,000 at most. The first of p_sorts is the default sort, in descending order.

Errors: BAD_INPUT (negative offset, no rows, unknown sort or direction, page_key of another sort, p_after with an offset).';

create or replace function app.queue_stage(p_stage text)
returns public.stage_type
language plpgsql stable strict set search_path = pg_catalog, pg_temp
as $$
begin
  if p_stage = 'Complete' or p_stage <> all(enum_range(null::public.stage_type)::text[]) then
    perform app.fail(
      'BAD_INPUT',
      format('The queue has no stage %s. Use get_complete for complete orders.', p_stage),
      jsonb_build_object('stage', p_stage)
    );
  end if;
  return p_stage::public.stage_type;
end;
$$;
comment on function app.queue_stage is
'Returns a stage of the queue by its name. Raises BAD_INPUT for Complete and for an unknown stage.';

create or replace function app.name_key(p_store text, p_id text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  return coalesce((
    select nullif(split_part(known.words, E'\n', 1), '')
    from app.order_words as known
    where known.store = p_store and known.id = p_id and known.is_open
  ), U&'\+10FFFF');
end;
$$;
comment on function app.name_key is
'Returns the sort key of an open order by its customer: the first line of its search words. An unknown name comes last.';

create or replace function app.count_queue(
  p_stores text[], p_stage public.stage_type, p_priority integer, p_assignee_id uuid,
  p_unassigned boolean, p_storage text
)
returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(tally.orders), 0)
    from app.order_tally as tally
    where tally.store = any(p_stores) and tally.stage <> 'Complete'
    and (p_stage is null or tally.stage = p_stage)
    and (p_priority is null or tally.priority = p_priority)
    and (p_assignee_id is null or tally.assignee_id = p_assignee_id)
    and (p_unassigned is not true or tally.assignee_id is null)
    and (p_storage is null or tally.storage = p_storage)
  );
end;
$$;
comment on function app.count_queue is
'Returns the number of open orders that match these filters, from app.order_tally. A null filter matches every order.';

create or replace function public.get_queue(
  p_store text default null, p_stage text default null, p_assignee_id uuid default null,
  p_storage text default null, p_priority text default null, p_search text default null,
  p_offset integer default 0, p_limit integer default 50, p_sort_by text default 'priority',
  p_sort_order text default 'DESC', p_after text default null, p_date_from date default null,
  p_date_to date default null, p_unassigned boolean default false
)
returns table (
  id text, human_id text, shopify_order_id bigint, shopify_order_number integer, suffix text,
  customer_name text, product_title text, flavour text, notes text, currency text,
  total_amount numeric, stage public.stage_type, priority text, due_date date,
  delivery_method text, size text, item_qty integer, storage text, assignee_id uuid,
  assignee_name text, store text, created_at timestamptz, updated_at timestamptz,
  covering_start_ts timestamptz, decorating_start_ts timestamptz, cancelled_at timestamptz,
  needs_attention text, total_count bigint, total_capped boolean, page_size integer, page_key text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'auto'
set random_page_cost = 0.01 -- open orders are in memory: only the rows read count
set seq_page_cost = 0.01
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
  v_page app.page := app.read_page(
    p_offset, p_limit, p_sort_by, p_sort_order, p_after,
    '{priority, due_date, created_at, customer_name, product_title, size}'
  );
  v_backwards boolean := (v_page.sort = 'priority') = (v_page.direction = 'ASC'); -- High is first
  v_stage public.stage_type := app.queue_stage(nullif(p_stage, ''));
  v_rank text := 4 - app.priority_of(p_priority);
  v_storage text := nullif(p_storage, '');
  v_pattern text := app.search_pattern(p_search);
  v_from text := case when p_date_from is not null then app.day_key(p_date_from) end;
  v_to text := case
    when p_date_to is not null then app.day_key(p_date_to) || '~'
    when p_date_from is not null then app.day_key(null)
  end;
  v_wide boolean := coalesce(p_date_to > least(p_date_from, '9999-12-29') + 2, true);
  v_ids text[] := case
    when v_pattern is not null then app.search_order_ids(v_pattern, true, 1000)
  end;
  v_most integer := case when v_ids is null then v_page.size + 1 else 1000 end;
  v_total bigint;
begin
  if v_pattern is null and p_after is null and v_to is null then
    v_total := app.count_queue(
      v_caller.stores, v_stage, 4 - v_rank::integer, p_assignee_id, p_unassigned, v_storage
    );
  end if;

  perform set_config('plan_cache_mode', 'force_custom_plan', true); -- for this call only
  return query
  with hits as materialized (
    select
      orders.id, orders.human_id, orders.shopify_order_id, orders.shopify_order_number,
      orders.suffix, orders.shopify_order_gid, orders.product_title, orders.flavour, orders.notes,
      orders.currency, orders.total_amount, orders.stage, orders.priority, orders.due_date,
      orders.delivery_method, orders.size, orders.item_qty, orders.storage, orders.assignee_id,
      orders.store, orders.created_at, orders.updated_at, orders.covering_start_ts,
      orders.decorating_start_ts, orders.cancelled_at, orders.needs_attention, keyed.sort_key
    from public.orders as orders
    cross join lateral (
      values (
        case v_page.sort
          when 'priority' then orders.queue_key
          when 'due_date' then substr(orders.queue_key, 3)
          when 'size' then orders.size_rank || ' ' || orders.queue_key
          when 'created_at' then app.moment_key(orders.created_at) || ' ' || orders.id
          when 'customer_name' then
            app.name_key(orders.store, orders.id) || E'\n' || orders.id
          when 'product_title' then
            coalesce(lower(orders.product_title), U&'\+10FFFF') || E'\n' || orders.id
        end collate "C"
      )
    ) as keyed (sort_key)
    where orders.store = any(v_caller.stores) and orders.is_open
    and (v_stage is null or orders.stage = v_stage)
    and (p_assignee_id is null or orders.assignee_id = p_assignee_id)
    and (p_unassigned is not true or orders.assignee_id is null)
    and (v_storage is null or orders.storage = v_storage)
    and (v_rank is null or orders.queue_key >= v_rank and orders.queue_key < v_rank || '~')
    -- Many days: read in queue order and filter. Few days: find the orders by date, then sort.
    and (v_from is null or orders.queue_key >= '1 ' || v_from)
    and (v_to is null or orders.queue_key < '3 ' || v_to)
    and (v_from is null or v_wide or substr(orders.queue_key, 3) >= v_from)
    and (v_to is null or v_wide or substr(orders.queue_key, 3) < v_to)
    and (v_from is null or not v_wide or orders.due_date >= p_date_from)
    and (v_to is null or not v_wide or orders.due_date <= coalesce(p_date_to, 'infinity'))
    and (v_ids is null or orders.id = any((select v_ids)::text[]))
    and (v_pattern is null or v_ids is not null or (
      select known.words from app.order_words as known
      where known.store = orders.store and known.id = orders.id and known.is_open
    ) like v_pattern)
    and (v_page.after is null or not v_backwards or keyed.sort_key < v_page.after)
    and (v_page.after is null or v_backwards or keyed.sort_key > v_page.after)
    order by
      case when v_backwards then keyed.sort_key end desc,
      case when not v_backwards then keyed.sort_key end
    offset v_page.first
    limit v_most
  )
  select
    hits.id, hits.human_id::text, hits.shopify_order_id, hits.shopify_order_number, hits.suffix,
    contacts.customer_name::text, hits.product_title::text, hits.flavour::text, hits.notes::text,
    hits.currency, hits.total_amount, hits.stage, app.priority_label(hits.priority), hits.due_date,
    hits.delivery_method, hits.size::text, hits.item_qty, hits.storage::text, hits.assignee_id,
    staff.full_name::text, hits.store, hits.created_at, hits.updated_at, hits.covering_start_ts,
    hits.decorating_start_ts, hits.cancelled_at, hits.needs_attention::text,
    case when p_after is null then coalesce(v_total, v_page.first + (select count(*) from hits)) end,
    p_after is null and v_total is null and v_ids is null and (select count(*) from hits) = v_most,
    v_page.size, v_page.sort || ':' || hits.sort_key
  from hits
  left join public.order_contacts as contacts
    on contacts.store = hits.store and contacts.order_gid = coalesce(hits.shopify_order_gid, hits.id)
  left join public.staff_shared as staff on staff.user_id = hits.assignee_id
  order by
    case when v_backwards then hits.sort_key end desc,
    case when not v_backwards then hits.sort_key end
  limit v_page.size;
end;
$$;
comment on function public.get_queue is
'Returns the orders that are still to be made, most urgent first: by priority, due date, size, number and id.

Leaves out complete orders (see get_complete), cancelled orders, and orders sold over the counter. Without p_store, lists all stores of the caller together. p_search finds part of a customer, product, number or id, in any case. p_date_from and p_date_to are the first and last due date. With p_date_from or p_date_to, orders without a due date are left out. The p_sort_by values are priority, due_date, created_at, customer_name, product_title and size. Orders with equal values are sorted by id, or by their place in the queue. p_sort_order must be ASC or DESC. For priority, DESC lists the most urgent orders first.

A page has page_size rows: p_limit, but at most 1,000. For the next page, add page_size to p_offset, or pass the page_key of the last row as p_after. With p_after, page 100 is as fast as page 1. No order is then skipped or repeated when others move. total_count is exact, except with dates or in a search that matches more than 1,000 open orders. There, the count ends just after the page, and total_capped is true if more orders may follow. With p_after, total_count is null, because the first page has the count.

Role: Staff or service_role. Errors: BAD_INPUT.';
grant execute on function public.get_queue to authenticated, service_role;

create or replace function public.get_unassigned_list(
  p_store text default null, p_stage text default null, p_limit integer default 100,
  p_offset integer default 0
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff', p_store, true);
  return query
  select to_jsonb(queue)
  from public.get_queue(
    p_store, p_stage, p_limit => coalesce(p_limit, 100), p_offset => p_offset, p_unassigned => true
  ) as queue;
end;
$$;
comment on function public.get_unassigned_list is
'Returns the rows of get_queue that have no assignee, as JSON.

Role: Staff or service_role. Errors: BAD_INPUT.';
grant execute on function public.get_unassigned_list to authenticated, service_role;

create or replace function public.get_orders_for_dashboard(
  p_store text default null, p_period text default 'week'
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
  v_days integer;
begin
  select periods.days into v_days
  from (values ('today', 0), ('week', 6), ('month', 29)) as periods (period, days)
  where periods.period = coalesce(p_period, 'week');
  if not found then
    perform app.fail(
      'BAD_INPUT', 'p_period must be today, week or month.', jsonb_build_object('period', p_period)
    );
  end if;
  return query
  select to_jsonb(queue)
  from public.get_queue(
    p_store, p_limit => 1000, p_sort_by => 'due_date', p_sort_order => 'ASC',
    p_date_to => v_days + (
      select max(app.today(shops.store)) from unnest(v_caller.stores) as shops (store)
    )
  ) as queue;
end;
$$;
comment on function public.get_orders_for_dashboard is
'Returns the rows of get_queue that are overdue or due within a period, by due date, as JSON.

p_period must be today, week or month: 1, 7 or 30 days including today. Returns at most 1,000 rows.

Role: Staff or service_role. Errors: BAD_INPUT.';
grant execute on function public.get_orders_for_dashboard to authenticated, service_role;

select app.assert_grants();
commit;
