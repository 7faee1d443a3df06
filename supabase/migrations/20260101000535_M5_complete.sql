-- M5 complete: list the complete orders.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.complete_page(
  p_stores text[], p_storage text, p_start_date date, p_end_date date, p_ids text[], p_pattern text,
  p_sort text, p_backwards boolean, p_after text, p_offset integer, p_limit integer
)
returns table (store text, id text, sort_key text)
language plpgsql stable rows 50 set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- so that filters that are not given drop out
as $$
declare
  v_from text;
  v_to text;
begin
  -- Bounds for the index: the earliest start and the latest end of these days in any of the stores.
  -- The query then checks each order in the time zone of its own store.
  select
    min(app.moment_key(
      least(greatest(p_start_date, '0001-01-01'), '9999-12-30')::timestamp at time zone stores.time_zone
    )),
    max(app.moment_key(
      (least(greatest(p_end_date, '0001-01-01'), '9999-12-30') + 1)::timestamp at time zone stores.time_zone
    ))
  into v_from, v_to
  from public.stores as stores where stores.code = any(p_stores);

  return query
  select orders.store, orders.id, keyed.sort_key
  from public.orders as orders
  left join app.order_words as known
    on p_sort = 'customer_name' and known.store = orders.store and known.id = orders.id
    and not known.is_open
  cross join lateral (
    values (
      case p_sort
        when 'completed_at' then app.moment_key(orders.packing_complete_ts) || ' ' || orders.id
        when 'due_date' then substr(orders.queue_key, 3)
        when 'customer_name' then
          coalesce(nullif(split_part(known.words, E'\n', 1), ''), U&'\+10FFFF')
          || E'\n' || orders.id
        when 'product_title' then
          coalesce(lower(orders.product_title), U&'\+10FFFF') || E'\n' || orders.id
      end collate "C"
    )
  ) as keyed (sort_key)
  where orders.store = any(p_stores)
  and orders.stage = 'Complete' and orders.cancelled_at is null and not orders.is_pos
  and (p_storage is null or orders.storage = p_storage)
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
  and (p_ids is null or orders.id = any((select p_ids)::text[]))
  and (p_pattern is null or (
    select known.words from app.order_words as known
    where known.store = orders.store and known.id = orders.id and not known.is_open
  ) like p_pattern)
  and (
    p_after is null
    or case when p_backwards then keyed.sort_key < p_after else keyed.sort_key > p_after end
  )
  order by
    case when p_backwards then keyed.sort_key end desc,
    case when not p_backwards then keyed.sort_key end
  offset p_offset
  limit p_limit;
end;
$$;
comment on function app.complete_page is
'Returns complete orders that match the filters, in the requested sort order, after p_after or p_offset. A null filter matches every order.';

create or replace function public.get_complete(
  p_store text default null, p_start_date date default null, p_end_date date default null,
  p_search text default null, p_offset integer default 0, p_limit integer default 50,
  p_sort_by text default 'completed_at', p_sort_order text default 'DESC',
  p_after text default null, p_storage text default null
)
returns table (
  id text, order_number integer, product_title text, size text, customer_name text, storage text,
  priority text, delivery_method text, due_date date, packing_complete_ts timestamptz,
  assignee_name text, store text, total_count bigint, total_capped boolean, page_size integer,
  page_key text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
  v_page app.page := app.read_page(
    p_offset, p_limit, p_sort_by, p_sort_order, p_after,
    '{completed_at, due_date, customer_name, product_title}'
  );
  v_pattern text := app.search_pattern(p_search);
  v_ids text[];
  v_total bigint;
  v_most integer := case when p_after is null then 1001 else v_page.size end;
begin
  if v_pattern is not null then
    v_ids := app.search_order_ids(v_pattern, false, 10000);
    if v_ids is null then
      v_most := v_page.size + 1;
    else
      v_pattern := null;
    end if;
  elsif p_after is null and num_nonnulls(p_start_date, p_end_date, nullif(p_storage, '')) = 0 then
    v_most := v_page.size;
    v_total := (
      select coalesce(sum(tally.orders), 0) from app.order_tally as tally
      where tally.store = any(v_caller.stores) and tally.stage = 'Complete'
    );
  end if;
  return query
  select
    orders.id, orders.shopify_order_number, orders.product_title::text, orders.size::text,
    contacts.customer_name::text, orders.storage::text, app.priority_label(orders.priority),
    orders.delivery_method, orders.due_date, orders.packing_complete_ts, staff.full_name::text,
    orders.store, case when p_after is null then coalesce(v_total, v_page.first + page.found) end,
    p_after is null and v_total is null and page.found = v_most,
    v_page.size, v_page.sort || ':' || page.sort_key
  from (
    select hits.store, hits.id, hits.sort_key, hits.place, count(*) over () as found
    from app.complete_page(
      v_caller.stores, nullif(p_storage, ''), p_start_date, p_end_date, v_ids, v_pattern,
      v_page.sort, v_page.direction = 'DESC', v_page.after, v_page.first, v_most
    ) with ordinality as hits (store, id, sort_key, place)
    order by hits.place
    limit v_page.size
  ) as page
  inner join public.orders as orders on orders.store = page.store and orders.id = page.id
  left join public.order_contacts as contacts
    on contacts.store = orders.store
    and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
  left join public.staff_shared as staff on staff.user_id = orders.assignee_id
  order by page.place;
end;
$$;
comment on function public.get_complete is
'Returns the complete orders, latest first. Leaves out cancelled orders and orders sold over the counter.

p_start_date and p_end_date are the first and last day of completion, in the time zone of the store of each order. p_sort_by must be completed_at, due_date, customer_name or product_title. Every sort except completed_at reads all orders between the dates. Search and pages work as in get_queue. total_count is exact if only p_store is given. With other filters, the count ends 1,001 orders after p_offset. In a search that matches more than 10,000 orders, the count ends just after the page. total_capped is true if more orders may follow.

Role: Staff or service_role. Errors: BAD_INPUT.';
grant execute on function public.get_complete to authenticated, service_role;

select app.assert_grants();
commit;
