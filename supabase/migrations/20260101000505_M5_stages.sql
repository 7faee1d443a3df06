-- M5 stages: the moves of an order. A table lists the moves, one function executes them.
-- Needs: M4
--
-- A stage move locks one row of orders and nothing else.
-- On Supabase, Realtime tells listeners about a move. On plain Postgres, they read stage_events.
-- NOTIFY is not used, because commits with NOTIFY wait for each other in the whole database. It
-- would halve the moves per second of eight scanners (bench/stages.py).
-- To refuse moves in a later milestone (no photo, no shift), add a trigger before update of stage
-- on public.orders that raises an error. The whole action then rolls back.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.stage_transitions (
  action text not null,
  from_stage public.stage_type not null,
  to_stage public.stage_type not null,
  stamps text[] not null,
  clears text[] not null default '{}',
  frees boolean not null default false,
  event public.event_type not null,
  role public.staff_role not null default 'Staff',
  primary key (action, from_stage),
  constraint stage_transitions_columns_check check (
    stamps || clears <@ '{
      filling_start_ts, filling_complete_ts, covering_start_ts, covering_complete_ts,
      decorating_start_ts, decorating_complete_ts, packing_start_ts, packing_complete_ts
    }'
  )
);
alter table app.stage_transitions enable row level security;
comment on table app.stage_transitions is
'The moves and marks of an order. app.advance_order executes them. A new action needs a row here and an RPC of two lines.';
comment on column app.stage_transitions.to_stage is
'The stage after the action. If to_stage equals from_stage, the action only marks the stage as started.';
comment on column app.stage_transitions.stamps is
'The timestamps of orders that are set to the current time, where they are null.';
comment on column app.stage_transitions.clears is 'The timestamps of orders that are set to null.';
comment on column app.stage_transitions.frees is 'True if the action removes the assignee.';
comment on column app.stage_transitions.role is 'The lowest role that may do the action.';

insert into app.stage_transitions (action, from_stage, to_stage, stamps, clears, frees, event, role)
values
('print', 'Filling', 'Filling', '{filling_start_ts}', '{}', false, 'print', 'Staff'),
(
  'complete_filling', 'Filling', 'Covering', '{filling_complete_ts}', '{}', true, 'complete',
  'Staff'
),
('start_covering', 'Covering', 'Covering', '{covering_start_ts}', '{}', false, 'start', 'Staff'),
(
  'complete_covering', 'Covering', 'Decorating', '{covering_complete_ts}', '{}', true, 'complete',
  'Staff'
),
(
  'start_decorating', 'Decorating', 'Decorating', '{decorating_start_ts}', '{}', false, 'start',
  'Staff'
),
(
  'complete_decorating', 'Decorating', 'Packing', '{decorating_complete_ts}', '{}', true,
  'complete', 'Staff'
),
('start_packing', 'Packing', 'Packing', '{packing_start_ts}', '{}', false, 'start', 'Staff'),
(
  'complete_packing', 'Packing', 'Complete', '{packing_start_ts, packing_complete_ts}', '{}',
  false, 'complete', 'Staff'
),
(
  'qc_return_to_decorating', 'Packing', 'Decorating', '{}',
  '{decorating_start_ts, decorating_complete_ts, packing_start_ts, packing_complete_ts}', true,
  'qc_return', 'Staff'
),
(
  'qc_return_to_decorating', 'Complete', 'Decorating', '{}',
  '{decorating_start_ts, decorating_complete_ts, packing_start_ts, packing_complete_ts}', true,
  'qc_return', 'Admin'
),
(
  'mark_order_complete', 'Filling', 'Complete', '{packing_complete_ts}', '{}', false, 'complete',
  'Admin'
),
(
  'mark_order_complete', 'Covering', 'Complete', '{packing_complete_ts}', '{}', false, 'complete',
  'Admin'
),
(
  'mark_order_complete', 'Decorating', 'Complete', '{packing_complete_ts}', '{}', false,
  'complete', 'Admin'
),
(
  'mark_order_complete', 'Packing', 'Complete', '{packing_complete_ts}', '{}', false, 'complete',
  'Admin'
)
on conflict (action, from_stage) do update
  set
    to_stage = excluded.to_stage, stamps = excluded.stamps, clears = excluded.clears,
    frees = excluded.frees, event = excluded.event, role = excluded.role;

create or replace function app.explain_refusal(p_action text, p_caller app.caller, p_order_id text)
returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_order record;
  v_moves record;
begin
  select
    orders.store, orders.stage, orders.cancelled_at, orders.is_pos, orders.created_at,
    case orders.stage
      when 'Filling' then orders.filling_start_ts
      when 'Covering' then orders.covering_start_ts
      when 'Decorating' then orders.decorating_start_ts
      when 'Packing' then orders.packing_start_ts
    end as begun_ts
  into v_order
  from public.orders as orders where orders.store = v_store and orders.id = p_order_id;
  if not found then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
  if v_order.cancelled_at is not null then
    perform app.fail(
      'CANCELLED', format('Order %s is cancelled.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'cancelled_at', v_order.cancelled_at)
    );
  end if;
  select
    min(move.from_stage) as needs,
    bool_and(move.from_stage < v_order.stage) as is_past,
    bool_or(move.to_stage < move.from_stage and move.to_stage = v_order.stage) as is_returned,
    bool_or(move.from_stage = v_order.stage) as fits,
    bool_or(move.from_stage = v_order.stage and move.to_stage = v_order.stage) as marks,
    bool_or(move.from_stage = v_order.stage and move.role > p_caller.role) as is_denied
  into v_moves
  from app.stage_transitions as move where move.action = p_action;
  if v_moves.is_past or v_moves.marks and v_order.begun_ts is not null
    or v_moves.is_returned and exists (
      select from public.stage_events as events
      where events.store = v_order.store and events.order_id = p_order_id
      and events.event_type = 'qc_return'
      and events.at_ts >= v_order.created_at - interval '1 day' -- reads no month before
    )
  then
    return true;
  end if;
  if v_moves.is_denied then
    perform app.fail(
      'PERMISSION_DENIED',
      format('Your role may not move order %s out of %s.', p_order_id, v_order.stage),
      jsonb_build_object('order_id', p_order_id, 'role', p_caller.role)
    );
  end if;
  if v_order.is_pos or not v_moves.fits then
    perform app.fail(
      'INVALID_STAGE',
      case
        when v_order.is_pos then
          format('Order %s was sold over the counter, so it has no stages.', p_order_id)
        else format(
          'Order %s is in %s. This action needs %s.', p_order_id, v_order.stage, v_moves.needs
        )
      end,
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', v_moves.needs)
    );
  end if;
  return false;
end;
$$;
comment on function app.explain_refusal is
'Raises the reason why an action moved nothing. Returns true if the order has already done the action, false if the order is in the right stage by now.

The action is already done in three cases. The order is past the stage, or still there and started, or sent back by a recorded return. Errors: NOT_FOUND, CANCELLED, PERMISSION_DENIED, INVALID_STAGE.';

create or replace function app.advance_order(
  p_action text, p_caller app.caller, p_order_id text, p_notes text default null,
  p_context jsonb default null
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans the foreign key checks again
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_now timestamptz := app.now();
  v_meta jsonb := jsonb_strip_nulls(
    jsonb_build_object('notes', nullif(btrim(p_notes), ''), 'context', p_context)
  );
  v_stage public.stage_type;
  v_event public.event_type;
begin
  if length(v_meta::text) > 4000 then
    perform app.fail('BAD_INPUT', 'Notes and context may have at most 4,000 characters together.');
  end if;
  for v_try in 1..3 loop
    with moved as (
      update public.orders as orders
      set
        stage = move.to_stage,
        assignee_id = case when not move.frees then orders.assignee_id end,
        filling_start_ts = case
          when 'filling_start_ts' = any(move.stamps) then coalesce(orders.filling_start_ts, v_now)
          when 'filling_start_ts' <> all(move.clears) then orders.filling_start_ts
        end,
        filling_complete_ts = case
          when 'filling_complete_ts' = any(move.stamps)
            then coalesce(orders.filling_complete_ts, v_now)
          when 'filling_complete_ts' <> all(move.clears) then orders.filling_complete_ts
        end,
        covering_start_ts = case
          when 'covering_start_ts' = any(move.stamps) then coalesce(orders.covering_start_ts, v_now)
          when 'covering_start_ts' <> all(move.clears) then orders.covering_start_ts
        end,
        covering_complete_ts = case
          when 'covering_complete_ts' = any(move.stamps)
            then coalesce(orders.covering_complete_ts, v_now)
          when 'covering_complete_ts' <> all(move.clears) then orders.covering_complete_ts
        end,
        decorating_start_ts = case
          when 'decorating_start_ts' = any(move.stamps)
            then coalesce(orders.decorating_start_ts, v_now)
          when 'decorating_start_ts' <> all(move.clears) then orders.decorating_start_ts
        end,
        decorating_complete_ts = case
          when 'decorating_complete_ts' = any(move.stamps)
            then coalesce(orders.decorating_complete_ts, v_now)
          when 'decorating_complete_ts' <> all(move.clears) then orders.decorating_complete_ts
        end,
        packing_start_ts = case
          when 'packing_start_ts' = any(move.stamps) then coalesce(orders.packing_start_ts, v_now)
          when 'packing_start_ts' <> all(move.clears) then orders.packing_start_ts
        end,
        packing_complete_ts = case
          when 'packing_complete_ts' = any(move.stamps)
            then coalesce(orders.packing_complete_ts, v_now)
          when 'packing_complete_ts' <> all(move.clears) then orders.packing_complete_ts
        end,
        updated_by = p_caller.user_id
      from app.stage_transitions as move
      where orders.store = v_store and orders.id = p_order_id
      and orders.cancelled_at is null and not orders.is_pos
      and move.action = p_action and move.from_stage = orders.stage
      and move.role <= p_caller.role
      and (
        move.to_stage <> move.from_stage
        or case orders.stage
          when 'Filling' then orders.filling_start_ts
          when 'Covering' then orders.covering_start_ts
          when 'Decorating' then orders.decorating_start_ts
          when 'Packing' then orders.packing_start_ts
        end is null
      )
      returning move.from_stage, move.to_stage, move.event
    ),
    noted as (
      insert into public.stage_events (store, order_id, stage, event_type, at_ts, staff_id, meta)
      select v_store, p_order_id, moved.from_stage, moved.event, v_now, p_caller.user_id, v_meta
      from moved
    )
    select moved.to_stage, moved.event into v_stage, v_event from moved;
    if found then
      perform app.broadcast('orders', app.order_message(v_store, p_order_id, v_event, v_stage));
      return app.order_result(v_store, p_order_id, v_stage, false);
    end if;
    if app.explain_refusal(p_action, p_caller, p_order_id) then
      return (
        select app.order_result(orders.store, orders.id, orders.stage, true)
        from public.orders as orders where orders.store = v_store and orders.id = p_order_id
      );
    end if; -- the order reached the right stage in the meantime: try again
  end loop;
  perform app.fail(
    'CONFLICT',
    format('Order %s was changed by someone else at the same time. Try again.', p_order_id),
    jsonb_build_object('order_id', p_order_id)
  );
  return null;
end;
$$;
comment on function app.advance_order is
'Executes a row of app.stage_transitions on an order: one guarded update and one event. Returns {order_id, store, stage, already_done}.

The caller must have passed app.require_order. A repeat writes nothing and returns already_done. Errors: BAD_INPUT, CONFLICT, and the errors of app.explain_refusal.';

create or replace function app.act(
  p_action text, p_order_id text, p_store text, p_notes text default null,
  p_performed_by uuid default null, p_context jsonb default null
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_role text := (
    select min(moves.role) from app.stage_transitions as moves where moves.action = p_action
  );
begin
  return app.advance_order(
    p_action, app.require_order(v_role, p_order_id, p_store, p_performed_by), p_order_id, p_notes,
    p_context
  );
end;
$$;
comment on function app.act is
'Executes an action on an order, as the body of a stage RPC. Checks that the caller has the lowest role of the action. Returns app.order_result. Raises the errors of app.require_order and app.advance_order.';

create or replace function app.audit_stages()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with steps as ( -- each event with the stage that followed; a uuid sorts faster than an id
    select
      orders.row_id, events.store, events.order_id, events.id, events.event_type, events.stage,
      events.at_ts,
      coalesce(
        lead(events.stage) over (partition by orders.row_id order by events.id), orders.stage
      ) as next_stage,
      lag(events.id) over (partition by orders.row_id order by events.id) as prior_id
    from public.stage_events as events
    inner join public.orders as orders
      on orders.store = events.store and orders.id = events.order_id
    where orders.created_at >= (select app.starts_of('stage_events'))
  ),
  moves as (
    select move.event, move.from_stage, array_agg(distinct move.to_stage) as to_stages
    from app.stage_transitions as move
    group by move.event, move.from_stage
  ),
  marks as ( -- what each move does to each timestamp
    select distinct move.event, move.from_stage, move.to_stage, mark.name, mark.is_set
    from app.stage_transitions as move
    cross join lateral (
      select stamp.name, true as is_set from unnest(move.stamps) as stamp (name)
      union all select clear.name, false from unnest(move.clears) as clear (name)
    ) as mark
    where mark.name <> 'packing_start_ts' -- two actions complete Packing, and one sets this
  ),
  touches as ( -- the last event that sets or clears a timestamp
    select distinct on (steps.row_id, marks.name collate "C")
      steps.row_id, marks.name, case when marks.is_set then steps.at_ts end as at_ts
    from steps
    inner join marks
      on marks.event = steps.event_type and marks.from_stage = steps.stage
      and marks.to_stage = steps.next_stage
    order by steps.row_id, marks.name collate "C", steps.id desc
  ),
  told as (
    select
      touches.row_id,
      max(touches.at_ts) filter (where touches.name = 'filling_start_ts') as filling_start_ts,
      max(touches.at_ts) filter (where touches.name = 'filling_complete_ts') as filling_complete_ts,
      max(touches.at_ts) filter (where touches.name = 'covering_start_ts') as covering_start_ts,
      max(touches.at_ts) filter (where touches.name = 'covering_complete_ts')
        as covering_complete_ts,
      max(touches.at_ts) filter (where touches.name = 'decorating_start_ts')
        as decorating_start_ts,
      max(touches.at_ts) filter (where touches.name = 'decorating_complete_ts')
        as decorating_complete_ts,
      max(touches.at_ts) filter (where touches.name = 'packing_complete_ts') as packing_complete_ts
    from touches
    group by touches.row_id
  )
  select
    steps.store,
    format(
      'order %s was in %s after event %s (%s in %s)', steps.order_id, steps.next_stage, steps.id,
      steps.event_type, steps.stage
    )
  from steps
  left join moves on moves.event = steps.event_type and moves.from_stage = steps.stage
  where steps.next_stage <> all(coalesce(moves.to_stages, array[steps.stage]))
  or steps.prior_id is null and steps.stage <> 'Filling'
  union all
  select orders.store, format('order %s has other timestamps than its events', orders.id)
  from public.orders as orders
  left join told on told.row_id = orders.row_id
  where orders.created_at >= (select app.starts_of('stage_events'))
  and (
    told.filling_start_ts, told.filling_complete_ts, told.covering_start_ts,
    told.covering_complete_ts, told.decorating_start_ts, told.decorating_complete_ts,
    told.packing_complete_ts
  ) is distinct from (
    orders.filling_start_ts, orders.filling_complete_ts, orders.covering_start_ts,
    orders.covering_complete_ts, orders.decorating_start_ts, orders.decorating_complete_ts,
    orders.packing_complete_ts
  );
$$;
comment on function app.audit_stages is
'Invariant: the events of an order lead from Filling to its stage, each by a row of app.stage_transitions, and have set its timestamps. Skips orders from before the start of stage_events.';

select app.register_invariant('stages', 'audit_stages');

select app.assert_grants();
commit;
