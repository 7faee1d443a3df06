-- M5 assigning: assign orders to staff.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.set_assignee(
  p_caller app.caller, p_order_id text, p_event public.event_type, p_staff_id uuid, p_note text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_note text := app.clean_order_fields(jsonb_build_object('note', p_note)) ->> 'note';
  v_order public.orders := app.lock_order(p_order_id);
begin
  if p_event = 'assign' and not exists (
    select from public.staff_shared as staff
    where staff.user_id = p_staff_id and staff.is_active and staff.approved
    and coalesce(staff.store, v_order.store) = v_order.store
  ) then
    perform app.fail(
      case when p_staff_id is null then 'BAD_INPUT' else 'NOT_FOUND' end,
      format('p_staff_id must be active, approved staff of store %s.', v_order.store),
      jsonb_build_object('staff_id', p_staff_id, 'store', v_order.store)
    );
  end if;
  if not v_order.is_open then
    perform app.fail(
      'INVALID_STAGE', format('Order %s is not open, so its assignee cannot change.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', 'open')
    );
  end if;
  if v_order.assignee_id is not distinct from p_staff_id then
    return app.order_result(v_order.store, v_order.id, v_order.stage, true);
  end if;
  update public.orders as orders
  set assignee_id = p_staff_id, updated_by = p_caller.user_id
  where orders.store = v_order.store and orders.id = v_order.id;
  return app.record_order_event(
    p_caller, v_order, p_event, jsonb_build_object(
      'assigned_to', p_staff_id, 'assigned_from', v_order.assignee_id, 'note', v_note
    )
  );
end;
$$;
comment on function app.set_assignee is
'Assigns an open order to a member of staff, or with p_staff_id null removes the assignee. Returns app.order_result.

Each change records an event. If the assignee is already right, returns already_done. Errors: NOT_FOUND (order or staff), BAD_INPUT, CANCELLED, INVALID_STAGE.';

create or replace function public.assign_staff(
  p_order_id text, p_store text default null, p_staff_id uuid default null, p_note text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.set_assignee(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id, 'assign', p_staff_id, p_note
  );
$$;
comment on function public.assign_staff is
'Assigns an open order to a member of staff. They must be active, approved, and allowed in the store of the order.

The stage stays. A former assignee loses the order. If the order is already theirs, returns already_done.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED, INVALID_STAGE.';
grant execute on function public.assign_staff to authenticated;

create or replace function public.unassign_staff(p_order_id text, p_store text default null)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.set_assignee(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id, 'unassign', null, null
  );
$$;
comment on function public.unassign_staff is
'Removes the assignee of an open order. If the order has no assignee, returns already_done.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED, INVALID_STAGE.';
grant execute on function public.unassign_staff to authenticated;

create or replace function public.assign_staff_bulk(
  p_order_ids text[], p_store text default null, p_staff_id uuid default null
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor', p_store);
  v_order_id text;
  v_assigned integer := 0;
begin
  if cardinality(p_order_ids) between 1 and 100 is not true or p_staff_id is null then
    perform app.fail(
      'BAD_INPUT', 'Give 1 to 100 order ids in p_order_ids, and p_staff_id.',
      jsonb_build_object('orders', cardinality(p_order_ids), 'staff_id', p_staff_id)
    );
  end if;
  for v_order_id in
    select orders.id
    from public.orders as orders
    where orders.store = any(v_caller.stores) and orders.id = any(p_order_ids)
    and orders.is_open and orders.assignee_id is distinct from p_staff_id
    order by orders.id
    for no key update
  loop
    perform app.set_assignee(v_caller, v_order_id, 'assign', p_staff_id, null);
    v_assigned := v_assigned + 1;
  end loop;
  return v_assigned;
end;
$$;
comment on function public.assign_staff_bulk is
'Assigns 1 to 100 orders to a member of staff. Returns the number of orders assigned.

Skips orders that do not exist, belong to another store, are not open, or are already theirs. Without p_store, takes orders of every store of the caller. If the member of staff may not work in the store of one of the orders left, assigns none.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.assign_staff_bulk to authenticated;

create or replace function public.bulk_assign(
  p_store text default null, p_order_ids text[] default null, p_staff_id uuid default null
)
returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.assign_staff_bulk(p_order_ids, p_store, p_staff_id);
$$;
comment on function public.bulk_assign is
'Calls assign_staff_bulk. This is its older name.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.bulk_assign to authenticated;

create or replace function app.audit_assignees()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    orders.store,
    format(
      'order %s belongs to %s, and its events say %s', orders.id,
      coalesce(orders.assignee_id::text, 'nobody'), coalesce(told.assigned_to, 'nobody')
    )
  from public.orders as orders
  left join (
    select
      events.store, events.order_id,
      max(events.id) filter (where events.event_type = 'assign') as given,
      max(events.id) filter (where events.event_type <> 'assign') as freed,
      (
        array_agg(events.meta ->> 'assigned_to' order by events.id desc)
        filter (where events.event_type in ('assign', 'unassign'))
      )[1] as assigned_to
    from public.stage_events as events
    where events.event_type in ('assign', 'unassign', 'complete', 'qc_return', 'cancel')
    group by events.store, events.order_id
  ) as told on told.store = orders.store and told.order_id = orders.id
  where orders.created_at >= (select app.starts_of('stage_events'))
  and case
    when orders.assignee_id is not null
      then orders.cancelled_at is not null
      or told.assigned_to is distinct from orders.assignee_id::text
    else told.given > coalesce(told.freed, 0) and exists (
      select from public.staff_shared as staff where staff.user_id::text = told.assigned_to
    )
  end;
$$;
comment on function app.audit_assignees is
'Invariant: an order belongs to the account that its events assigned last, and a cancelled order to nobody. Skips orders from before the start of stage_events.';

select app.register_invariant('assignees', 'audit_assignees');

select app.assert_grants();
commit;
