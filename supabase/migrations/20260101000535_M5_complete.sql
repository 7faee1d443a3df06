-- M5 complete: the orders that are complete.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.get_complete(
  p_store text default null,
  p_start_date date default null,
  p_end_date date default null,
  p_search text default null,
  p_offset integer default 0,
  p_limit integer default 50,
  p_sort_by text default 'completed_at',
  p_sort_order text default 'DESC',
  p_after text default null,
  p_storage text default null
)
returns table (
  id text, order_number integer, product_title text, size text, customer_name text, storage text,
  priority text, delivery_method text, due_date date, packing_complete_ts timestamptz,
  assignee_name text, store text, total_count bigint, total_capped boolean, page_size integer,
  page_key text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'auto'
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
  v_stores text[] := case when p_store is null then v_caller.stores else array[p_store] end;
  v_offset integer := coalesce(p_offset, 0);
  v_size integer := least(coalesce(p_limit, 50), 1000);
  v_sort text := lower(coalesce(nullif(p_sort_by, ''), 'completed_at'));
  v_order text := upper(coalesce(nullif(p_sort_order, ''), 'DESC'));
  v_backwards boolean := v_order = 'DESC';
  v_after text := substr(p_after, length(v_sort) + 2);
  v_storage text := nullif(p_storage, '');
  v_pattern text := app.search_pattern(p_search);
  v_from text;
  v_to text;
  v_ids text[];
  v_total bigint;
  v_most integer := case when p_after is null then 1001 else v_size end;
begin
  perform app.check_page(
    v_offset, v_size, v_sort, '{completed_at, due_date, customer_name, product_title}', v_order,
    p_after
  );
  -- the widest of the stores' days, for the index; each order by the day of its own store
  select
    min(app.moment_key(
      greatest(p_start_date, '0001-01-01')::timestamp at time zone stores.time_zone
    )),
    max(app.moment_key(
      (least(p_end_date, '9999-12-30') + 1)::timestamp at time zone stores.time_zone
    ))
  into v_from, v_to
  from public.stores as stores
  where stores.code = any(v_stores);
  if v_pattern is not null then
    v_ids := app.search_order_ids(v_pattern, false, 10000);
    if v_ids is null then
      v_most := v_size + 1;
    else
      v_pattern := null;
    end if;
  elsif p_after is null and p_start_date is null and p_end_date is null and v_storage is null then
    select coalesce(sum(tally.orders), 0) into v_total
    from app.order_tally as tally
    where tally.store = any(v_stores) and tally.stage = 'Complete';
    v_most := v_size;
  end if;

  perform set_config('plan_cache_mode', 'force_custom_plan', true); -- until this function returns
  return query
  with hits as materialized (
    select
      keyed.id, keyed.order_number, keyed.product_title, keyed.size, keyed.customer_name,
      keyed.storage, keyed.priority, keyed.delivery_method, keyed.due_date,
      keyed.packing_complete_ts, keyed.assignee_id, keyed.store, keyed.sort_key
    from (
      select
        orders.id, orders.shopify_order_number as order_number, orders.product_title, orders.size,
        orders.customer_name, orders.storage, orders.priority, orders.delivery_method,
        orders.due_date, orders.packing_complete_ts, orders.assignee_id, orders.store,
        case v_sort
          when 'completed_at' then app.moment_key(orders.packing_complete_ts) || ' ' || orders.id
          when 'due_date' then substr(orders.queue_key, 3)
          when 'customer_name' then
            coalesce(lower(orders.customer_name), U&'\+10FFFF') || E'\n' || orders.id
          when 'product_title' then
            coalesce(lower(orders.product_title), U&'\+10FFFF') || E'\n' || orders.id
        end collate "C" as sort_key
      from public.orders as orders
      where orders.store = any(v_stores)
      and orders.stage = 'Complete' and orders.cancelled_at is null and not orders.is_pos
      and (v_storage is null or orders.storage = v_storage)
      and (
        p_start_date is null
        or (app.moment_key(orders.packing_complete_ts) || ' ' || orders.id) collate "C" >= v_from
      )
      and (
        p_end_date is null
        or (app.moment_key(orders.packing_complete_ts) || ' ' || orders.id) collate "C" < v_to
      )
      and (
        p_start_date is null and p_end_date is null
        or (orders.packing_complete_ts at time zone (
          select stores.time_zone from public.stores as stores where stores.code = orders.store
        ))::date between coalesce(p_start_date, '-infinity') and coalesce(p_end_date, 'infinity')
      )
      and (v_ids is null or orders.id = any((select v_ids)::text[]))
      and (v_pattern is null or (
        select known.words from app.order_words as known
        where known.store = orders.store and known.id = orders.id and not known.is_open
      ) like v_pattern)
    ) as keyed
    where v_after is null
    or case when v_backwards then keyed.sort_key < v_after else keyed.sort_key > v_after end
    order by
      case when v_backwards then keyed.sort_key end desc,
      case when not v_backwards then keyed.sort_key end
    offset v_offset
    limit v_most
  )
  select
    hits.id, hits.order_number, hits.product_title, hits.size, hits.customer_name, hits.storage,
    app.priority_label(hits.priority), hits.delivery_method, hits.due_date,
    hits.packing_complete_ts, staff.full_name, hits.store,
    case
      when p_after is null then coalesce(v_total, v_offset + (select count(*) from hits))
    end,
    p_after is null and v_total is null and (select count(*) from hits) = v_most,
    v_size, v_sort || ':' || hits.sort_key
  from hits
  left join public.staff_shared as staff on staff.user_id = hits.assignee_id
  order by
    case when v_backwards then hits.sort_key end desc,
    case when not v_backwards then hits.sort_key end
  limit v_size;
end;
$$;
comment on function public.get_complete is
'The orders that are done, latest first. Without the cancelled and those sold over the counter.

The dates are the first and the last day of completion, by the calendar of each order''s store. p_sort_by is completed_at, due_date, customer_name or product_title, and then the id; all but the first read everything between the dates. Search and pages are those of get_queue. total_count is exact without filters but the store; with others it looks 1,001 orders ahead, or just beyond the page in a search that fits more than 10,000, and total_capped says that there may be more.

Role: Staff or service_role. Errors: BAD_INPUT.';
grant execute on function public.get_complete to authenticated, service_role;

select app.assert_grants();

commit;
