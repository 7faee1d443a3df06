-- M5 counts: count the orders by stage and by assignee.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.get_queue_stats(p_store text default null)
returns table (
  total_orders bigint, completed_orders bigint, in_production bigint, unassigned_orders bigint,
  filling_count bigint, covering_count bigint, decorating_count bigint, packing_count bigint
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
begin
  return query
  with places as (
    select
      tally.stage, tally.orders, tally.stage <> 'Complete' and tally.assignee_id is null as is_free
    from app.order_tally as tally where tally.store = any(v_caller.stores)
  ),
  sums as (
    select places.stage, places.is_free, sum(places.orders)::bigint as orders
    from places
    group by places.stage, places.is_free
  )
  select
    coalesce(sum(sums.orders), 0)::bigint,
    coalesce(max(sums.orders) filter (where sums.stage = 'Complete'), 0),
    coalesce(sum(sums.orders) filter (where sums.stage <> 'Complete' and not sums.is_free), 0)
      ::bigint,
    coalesce(sum(sums.orders) filter (where sums.is_free), 0)::bigint,
    coalesce(max(sums.orders) filter (where sums.stage = 'Filling' and not sums.is_free), 0),
    coalesce(max(sums.orders) filter (where sums.stage = 'Covering' and not sums.is_free), 0),
    coalesce(max(sums.orders) filter (where sums.stage = 'Decorating' and not sums.is_free), 0),
    coalesce(max(sums.orders) filter (where sums.stage = 'Packing' and not sums.is_free), 0)
  from sums;
end;
$$;
comment on function public.get_queue_stats is
'Returns the numbers of orders in one row. total_orders is the sum of completed_orders, in_production and unassigned_orders.

in_production counts the open orders with an assignee. The counts of the four stages add up to in_production. Cancelled orders and orders sold over the counter do not count. Without p_store, counts all stores of the caller.

Role: Staff or service_role.';
grant execute on function public.get_queue_stats to authenticated, service_role;

create or replace function public.get_unassigned_counts(p_store text default null)
returns table (stage text, count bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store, true);
begin
  return query
  select stages.stage::text, coalesce(sum(places.orders), 0)::bigint
  from unnest(enum_range(null::public.stage_type)) as stages (stage)
  left join app.order_tally as places
    on places.stage = stages.stage and places.assignee_id is null
    and places.store = any(v_caller.stores)
  where stages.stage <> 'Complete'
  group by stages.stage
  order by stages.stage;
end;
$$;
comment on function public.get_unassigned_counts is
'Returns the number of orders without an assignee for each stage before Complete.

Without p_store, counts all stores of the caller.

Role: Staff or service_role.';
grant execute on function public.get_unassigned_counts to authenticated, service_role;

create or replace function public.get_staff_order_counts()
returns table (user_id uuid, order_count bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', null, true);
begin
  return query
  select places.assignee_id, sum(places.orders)::bigint
  from app.order_tally as places
  where places.store = any(v_caller.stores) and places.assignee_id is not null
  group by places.assignee_id
  having sum(places.orders) > 0
  order by places.assignee_id;
end;
$$;
comment on function public.get_staff_order_counts is
'Returns the number of open orders assigned to each member of staff, in the stores of the caller. Staff without orders are left out.

Role: Staff or service_role.';
grant execute on function public.get_staff_order_counts to authenticated, service_role;

select app.assert_grants();
commit;
