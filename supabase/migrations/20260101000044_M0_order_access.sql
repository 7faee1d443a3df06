-- M0 order access: check the caller, lock the order, record the event, return the result.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.require_order(
  p_role text, p_order_id text, p_store text default null, p_performed_by uuid default null
)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_caller app.caller;
begin
  if v_store is distinct from coalesce(p_store, v_store) or v_store = '' then
    v_store := null;
  end if;
  v_caller := case
    when p_performed_by is null then app.require(p_role, v_store)
    else app.require_performer(p_role, v_store, p_performed_by)
  end;
  if v_store is null then
    perform app.fail(
      'BAD_INPUT', 'The order id is missing, or does not belong to this store.',
      jsonb_build_object('order_id', p_order_id, 'store', p_store)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_order is
'Returns the caller, if the caller has at least this role and works in the store of the order. Every RPC on one order must begin with this check.

Does not check that the order exists. With p_performed_by, app.require_performer decides. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no id, no such store, or not this store).';

create or replace function app.lock_order(p_order_id text, p_live boolean default true)
returns public.orders
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_order public.orders;
begin
  select orders.* into v_order
  from public.orders as orders
  where orders.store = v_store and orders.id = p_order_id for no key update;
  if not found then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
  if p_live and v_order.cancelled_at is not null then
    perform app.fail(
      'CANCELLED', format('Order %s is cancelled.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage)
    );
  end if;
  return v_order;
end;
$$;
comment on function app.lock_order is
'Locks an order until this transaction ends. Returns the order.

Rejects a cancelled order, unless p_live is false. Errors: NOT_FOUND, CANCELLED.';

create or replace function app.units_of(p_store text, p_order text)
returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise each call plans all partitions again
as $$
begin
  return coalesce(
    nullif(array(
      select orders.id from public.orders as orders
      where orders.store = p_store and orders.shopify_order_gid = p_order order by orders.id
    ), '{}'),
    array(
      select orders.id from public.orders as orders
      where orders.store = p_store and orders.id = p_order and orders.shopify_order_gid is null
    )
  );
end;
$$;
comment on function app.units_of is
'Returns the ids of the cakes of an order, in the order in which they are locked. p_order is the gid of a Shopify order, or the id of a manual order.';

create or replace function app.order_result(
  p_store text, p_order_id text, p_stage public.stage_type, p_already_done boolean
)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'order_id', p_order_id, 'store', p_store, 'stage', p_stage, 'already_done', p_already_done
  );
end;
$$;
comment on function app.order_result is
'Returns the result of an RPC that writes to an order: {order_id, store, stage, already_done}.';

create or replace function app.order_message(
  p_store text, p_order_id text, p_event public.event_type, p_stage public.stage_type
)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'store', p_store, 'order_id', p_order_id, 'event', p_event, 'stage', p_stage
  );
end;
$$;
comment on function app.order_message is
'Returns the message that listeners of the topic orders get.';

create or replace function app.edit_meta(p_was jsonb, p_changes jsonb)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes jsonb := p_changes - 'customer_name';
begin
  return jsonb_build_object(
    'old', coalesce((
      select jsonb_object_agg(field, p_was -> field) from jsonb_object_keys(v_changes) as field
    ), '{}'),
    'new', v_changes
  ) || case
    when p_changes ? 'customer_name' then '{"contact": ["customer_name"]}'::jsonb
    else '{}'::jsonb
  end;
end;
$$;
comment on function app.edit_meta is
'Returns the meta of an edit event: {old, new, contact}. old and new have the changed fields. The name of a customer never enters an event: contact only says that it changed.';

create or replace function app.announce_order(p_order public.orders, p_event public.event_type)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.emit('orders', app.order_message(p_order.store, p_order.id, p_event, p_order.stage));
end;
$$;
comment on function app.announce_order is 'Notifies listeners of an event of an order.';

create or replace function app.record_order_event(
  p_caller app.caller, p_order public.orders, p_event public.event_type, p_meta jsonb
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
  values (p_order.store, p_order.id, p_order.stage, p_event, p_caller.user_id, p_meta);
  perform app.announce_order(p_order, p_event);
  return app.order_result(p_order.store, p_order.id, p_order.stage, false);
end;
$$;
comment on function app.record_order_event is
'Records an event of the caller on an order and notifies listeners. Returns app.order_result.';

select app.assert_grants();
commit;
