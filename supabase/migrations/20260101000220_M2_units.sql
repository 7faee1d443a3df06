-- M2 units: add, change and cancel the cakes of a Shopify order.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.merge_attention(p_attention text, p_gone text[], p_come text[])
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(reasons.reason, '; ' order by reasons.position)
    from (
      select said.reason, min(said.position) as position
      from unnest(string_to_array(p_attention, '; ') || p_come)
        with ordinality as said (reason, position)
      where said.reason <> all(p_gone)
      group by said.reason
    ) as reasons
  );
end;
$$;
comment on function app.merge_attention is
'Returns needs_attention of an order without the reasons p_gone and with the reasons p_come. Returns null if no reason is left.';

create or replace function app.line_item_id(p_item jsonb)
returns bigint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((p_item -> 'line_id')::bigint, 0);
end;
$$;
comment on function app.line_item_id is
'Returns the id of a line (app.shopify_line). Returns 0 if the id is unknown.';

create or replace function app.add_units(p_store text, p_order jsonb, p_units jsonb)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.actor();
  v_number text := coalesce(p_order ->> 'order_number', p_order ->> 'shopify_order_id');
  v_letter text := (
    select stores.scan_letter from public.stores as stores where stores.code = p_store
  );
  v_attention text := nullif(array_to_string(
    array(select jsonb_array_elements_text(p_order -> 'needs_attention')), '; '
  ), '');
  v_added integer;
begin
  with added as (
    insert into public.orders (
      store, id, shopify_order_id, shopify_order_gid, shopify_order_number, suffix, human_id,
      product_title, flavour, size, notes, cake_writing, delivery_method, currency, total_amount,
      order_json, accessories, due_date, due_date_text, needs_attention, is_pos, created_by, site
    )
    select
      p_store, concat_ws('-', p_store, v_number, unit.suffix), head.shopify_order_id, head.gid,
      head.order_number, unit.suffix, concat_ws('-', v_letter || v_number, unit.suffix),
      unit.product_title, unit.flavour, unit.size, head.notes, unit.cake_writing,
      head.delivery_method, head.currency, unit.total_amount, unit.item,
      coalesce(unit.accessories, '[]'), head.due_date, head.due_date_text,
      v_attention, head.is_pos, v_caller.user_id, head.site
    from jsonb_to_record(p_order) as head (
      gid text, shopify_order_id bigint, order_number integer, notes text, delivery_method text,
      currency text, due_date date, due_date_text text, is_pos boolean, site text
    )
    cross join jsonb_to_recordset(p_units) as unit (
      suffix text, product_title text, flavour text, size text, cake_writing text,
      total_amount numeric, item jsonb, accessories jsonb
    )
    on conflict (store, id) do nothing
    returning orders.store, orders.id, orders.stage
  )
  insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
  select added.store, added.id, added.stage, 'create', v_caller.user_id, '{"source": "shopify"}'
  from added;
  get diagnostics v_added = row_count;
  if v_added <> jsonb_array_length(p_units) then
    perform app.fail(
      'CONFLICT', format('Store %s has another order with the number %s.', p_store, v_number),
      jsonb_build_object('store', p_store, 'number', v_number)
    );
  end if;
end;
$$;
comment on function app.add_units is
'Adds units of an order from app.shopify_order, with its site, to public.orders. Records one event for each unit. Raises CONFLICT if another order has the number.';

create or replace function app.cancel_units(
  p_store text, p_ids text[], p_reason text, p_source text
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.actor();
begin
  with doomed as (
    select orders.id, orders.assignee_id
    from public.orders as orders
    where orders.store = p_store and orders.id = any(p_ids)
    and orders.stage <> 'Complete' and orders.cancelled_at is null
    order by orders.id
    for no key update
  ),
  gone as (
    update public.orders as orders
    set cancelled_at = app.now(), cancelled_by = v_caller.user_id, cancel_reason = p_reason,
      assignee_id = null, updated_by = v_caller.user_id
    from doomed where orders.store = p_store and orders.id = doomed.id
    returning orders.store, orders.id, orders.stage, doomed.assignee_id
  )
  insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
  select
    gone.store, gone.id, gone.stage, 'cancel', v_caller.user_id,
    jsonb_build_object('source', p_source, 'reason', p_reason, 'assignee_id', gone.assignee_id)
  from gone;
end;
$$;
comment on function app.cancel_units is
'Cancels these units, with one event each, and removes their assignees. The stage stays. Complete and cancelled units stay unchanged.';

create or replace function app.move_order_extras(p_store text, p_gid text)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_lead text := (
    select units.id
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = p_gid
    and units.cancelled_at is null
    order by
      units.accessories = '[]' and units.total_amount = 0,
      units.stage = 'Complete', length(units.suffix) nulls first, units.suffix
    limit 1
  );
begin
  update public.orders as units
  set
    accessories = case when units.id = v_lead then former.accessories else '[]' end,
    total_amount = case when units.id = v_lead then former.total_amount else 0 end
  from public.orders as former
  where former.store = p_store and former.shopify_order_gid = p_gid
  and former.cancelled_at is not null
  and (former.accessories <> '[]' or former.total_amount > 0)
  and units.store = p_store and units.id in (v_lead, former.id) and v_lead is not null;
  return v_lead;
end;
$$;
comment on function app.move_order_extras is
'Moves accessories and total of a Shopify order from a cancelled unit to the first unit not cancelled. Returns the unit that has them, or null if every unit is cancelled. A complete unit keeps them when a cake is added.

Call this after each cancellation of a unit, with the row of public.shopify_orders locked.';

create or replace function app.expected_unit(p_order jsonb, p_line bigint, p_lead boolean)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return p_order
    || coalesce((
      select unit.value
      from jsonb_array_elements(p_order -> 'units') with ordinality as unit (value, position)
      where app.line_item_id(unit.value -> 'item') = p_line
      order by unit.position
      limit 1
    ), '{}')
    || jsonb_build_object(
      'accessories', coalesce(case when p_lead then p_order #> '{units,0,accessories}' end, '[]'),
      'total_amount', case when p_lead then p_order -> 'total_amount' else '0' end
    );
end;
$$;
comment on function app.expected_unit is
'Returns the values that a normalised order gives a cake of this line, named like the columns of orders. Only the lead unit gets the accessories and the total.';

create or replace function app.cancel_missing_units(p_store text, p_order jsonb)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_gone text[];
begin
  select array_agg(live.id) into v_gone
  from (
    select
      units.id, units.stage, app.line_item_id(units.order_json) as line,
      row_number() over (
        partition by app.line_item_id(units.order_json)
        order by units.stage desc, length(units.suffix) nulls first, units.suffix
      ) as nth
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = p_order ->> 'gid'
    and units.cancelled_at is null
  ) as live
  where live.stage <> 'Complete' and live.nth > (
    select count(*) from jsonb_array_elements(p_order -> 'units') as unit (value)
    where app.line_item_id(unit.value -> 'item') = live.line
  );
  perform app.cancel_units(p_store, v_gone, 'Taken off the order in Shopify', 'shopify');
  return v_gone is not null;
end;
$$;
comment on function app.cancel_missing_units is
'Cancels units of lines that now have fewer cakes, and starts with the unit furthest from complete. Returns whether any unit was cancelled.';

create or replace function app.add_missing_units(p_store text, p_old jsonb, p_new jsonb)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_had integer := (
    select count(*) from public.orders as units
    where units.store = p_store and units.shopify_order_gid = p_new ->> 'gid'
  );
  v_more jsonb;
begin
  select jsonb_agg(
    case
      when v_had = 0 then wanted.unit
      else wanted.unit || jsonb_build_object(
        'suffix', app.shopify_suffix(v_had + wanted.ordinal), 'accessories', '[]'::jsonb,
        'total_amount', 0
      )
    end
    order by wanted.ordinal
  ) into v_more
  from (
    select every.unit, row_number() over (order by every.position)::integer as ordinal
    from (
      select
        unit.value as unit, unit.position,
        row_number() over (
          partition by app.line_item_id(unit.value -> 'item') order by unit.position
        ) as nth
      from jsonb_array_elements(p_new -> 'units') with ordinality as unit (value, position)
    ) as every
    where every.nth > greatest(
      ( -- compares with the last payload: units that staff cancelled stay so
        select count(*) from jsonb_array_elements(p_old -> 'units') as former (value)
        where app.line_item_id(former.value -> 'item') = app.line_item_id(every.unit -> 'item')
      ),
      ( -- a complete unit that Shopify took off the order still serves its line
        select count(*) from public.orders as units
        where units.store = p_store and units.shopify_order_gid = p_new ->> 'gid'
        and units.cancelled_at is null
        and app.line_item_id(units.order_json) = app.line_item_id(every.unit -> 'item')
      )
    )
  ) as wanted;
  if v_more is not null then
    perform app.add_units(p_store, p_new, v_more);
  end if;
  return v_more is not null;
end;
$$;
comment on function app.add_missing_units is
'Adds units for lines that have more cakes than before, and more than there are. New units get the next suffixes. Returns whether any unit was added.';

create or replace function app.edit_unit(
  p_unit public.orders, p_name text, p_was jsonb, p_to jsonb, p_gone text[], p_come text[]
)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  -- Shopify may change these fields, but not the stage, times, assignee, storage or priority
  c_fields constant text[] := array[
    'customer_name', 'notes', 'delivery_method', 'currency', 'due_date', 'due_date_text',
    'product_title', 'flavour', 'size', 'cake_writing', 'accessories', 'total_amount'
  ];
  v_caller app.caller := app.actor();
  v_is jsonb := to_jsonb(p_unit) || jsonb_build_object('customer_name', p_name);
  v_next public.orders;
  v_changes jsonb;
  v_kept text[];
  v_news text;
  v_attention text := app.merge_attention(p_unit.needs_attention, p_gone, p_come);
begin
  select
    coalesce(jsonb_object_agg(diff.field, diff.is_to) filter (where diff.untouched), '{}'),
    array_agg(diff.field) filter (where not diff.untouched)
  into v_changes, v_kept
  from (
    select
      field, p_to -> field as is_to,
      nullif(v_is -> field, 'null') is not distinct from nullif(p_was -> field, 'null')
        as untouched
    from unnest(c_fields) as field
    where nullif(p_to -> field, 'null') is distinct from nullif(p_was -> field, 'null')
    and nullif(p_to -> field, 'null') is distinct from nullif(v_is -> field, 'null')
  ) as diff;

  -- staff must check changes that were not applied, and changes to a started cake
  select 'Shopify changed ' || string_agg(replace(field, '_', ' '), ', ' order by field)
  into v_news
  from unnest(
    v_kept || case
      when p_unit.stage <> 'Filling' or p_unit.filling_start_ts is not null
        then array(select jsonb_object_keys(v_changes))
    end
  ) as field;
  if strpos(v_attention, v_news) > 0 is not true then
    v_attention := nullif(concat_ws('; ', v_attention, v_news), '');
  end if;
  if v_attention is distinct from p_unit.needs_attention then
    v_changes := v_changes || jsonb_build_object('needs_attention', v_attention);
  end if;
  if v_changes = '{}' then
    return false;
  end if;

  v_next := jsonb_populate_record(p_unit, v_changes);
  update public.orders as units
  set
    notes = v_next.notes, delivery_method = v_next.delivery_method, currency = v_next.currency,
    due_date = v_next.due_date, due_date_text = v_next.due_date_text,
    product_title = v_next.product_title, flavour = v_next.flavour, size = v_next.size,
    cake_writing = v_next.cake_writing, accessories = v_next.accessories,
    total_amount = v_next.total_amount, needs_attention = v_next.needs_attention,
    updated_by = v_caller.user_id
  where units.store = p_unit.store and units.id = p_unit.id;
  insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
  values (
    p_unit.store, p_unit.id, p_unit.stage, 'edit', v_caller.user_id, jsonb_build_object(
      'source', 'shopify', 'kept', coalesce(v_kept, '{}')
    ) || app.edit_meta(v_is, v_changes)
  );
  return true;
end;
$$;
comment on function app.edit_unit is
'Applies to one open unit what changed between two payloads, and records an event. Returns true if the unit changed. p_name is the name of the customer, which app.apply_order_changes writes.

A field that Shopify did not change keeps the value from staff. A field that both changed also keeps that value, and needs_attention says so.';

create or replace function app.apply_order_changes(p_store text, p_old jsonb, p_new jsonb)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_gid text := p_new ->> 'gid';
  v_changed boolean := app.cancel_missing_units(p_store, p_new);
  v_lead text;
  v_gone text[] := array(
    select jsonb_array_elements_text(p_old -> 'needs_attention')
    except select jsonb_array_elements_text(p_new -> 'needs_attention')
  );
  v_come text[] := array(
    select jsonb_array_elements_text(p_new -> 'needs_attention')
    except select jsonb_array_elements_text(p_old -> 'needs_attention')
    order by 1
  );
  v_name text := (
    select contacts.customer_name from public.order_contacts as contacts
    where contacts.store = p_store and contacts.order_gid = v_gid
  );
  v_unit public.orders;
begin
  v_changed := app.add_missing_units(p_store, p_old, p_new) or v_changed;
  v_lead := app.move_order_extras(p_store, v_gid);
  for v_unit in
    select units.*
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = v_gid
    and units.cancelled_at is null and units.stage <> 'Complete'
    order by units.id
    for update
  loop
    v_changed := app.edit_unit(
      v_unit, v_name,
      app.expected_unit(p_old, app.line_item_id(v_unit.order_json), v_unit.id = v_lead),
      app.expected_unit(p_new, app.line_item_id(v_unit.order_json), v_unit.id = v_lead),
      v_gone, v_come
    ) or v_changed;
  end loop;
  update public.order_contacts as contacts
  set customer_name = p_new ->> 'customer_name'
  where contacts.store = p_store and contacts.order_gid = v_gid
  and contacts.customer_name is not distinct from p_old ->> 'customer_name'
  and contacts.customer_name is distinct from p_new ->> 'customer_name';
  return found or v_changed;
end;
$$;
comment on function app.apply_order_changes is
'Changes the open units of an order, and the name of its customer, from one normalised payload to the next. Returns whether anything changed.

Cancels cakes that were removed, adds new ones, and edits the rest. Ids never change.';

select app.assert_grants();
commit;
