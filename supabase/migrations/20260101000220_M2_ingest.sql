-- M2 ingest: from a signed Shopify webhook to cakes in the kitchen, in one transaction.
--
-- Needs: M0 M3 M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('BAD_SIGNATURE', 'PT401', 'Not a webhook of a shop we know, signed with its secret.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

-- Tables
create table if not exists public.shopify_orders (
  store text not null references public.stores (code),
  gid text not null,
  payload jsonb not null,
  remote_updated_at timestamptz,
  cancelled_at timestamptz,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  primary key (store, gid)
);
alter table public.shopify_orders enable row level security;
comment on table public.shopify_orders is
'One row per Shopify order, whatever the number of its cakes. Holds customers'' addresses: granted to nobody.';
comment on column public.shopify_orders.payload is
'The order as Shopify last sent it; what the next update is compared with.';
comment on column public.shopify_orders.remote_updated_at is
'When Shopify changed it last, by Shopify''s clock. What is older comes late and is ignored.';
comment on column public.shopify_orders.cancelled_at is
'Cancelled in Shopify since, perhaps before it was heard of: then it gets no cakes.';

create table if not exists public.webhook_deliveries (
  id bigint generated always as identity primary key,
  store text not null references public.stores (code),
  webhook_id text not null,
  topic text not null,
  status text not null default 'ok' check (status in ('ok', 'dead')),
  attempts integer not null default 1,
  last_error text,
  reason text,
  body text,
  received_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  unique (store, webhook_id),
  check ((status = 'dead') = (last_error is not null))
);
create index if not exists webhook_deliveries_dead_idx
on public.webhook_deliveries (id) where status = 'dead';
alter table public.webhook_deliveries enable row level security;
comment on table public.webhook_deliveries is
'Every authentic webhook, once. One that failed for now left nothing: Shopify sends it again.';
comment on column public.webhook_deliveries.webhook_id is
'Shopify''s name for the delivery, the same when it is repeated.';
comment on column public.webhook_deliveries.status is
'ok, or dead: it can never be applied as it is. A person looks, and may replay it.';
comment on column public.webhook_deliveries.attempts is 'How often it came or was replayed.';
comment on column public.webhook_deliveries.last_error is
'Why it is dead, as a symbol of app.error_codes; reason is the sentence.';
comment on column public.webhook_deliveries.body is
'Of a dead one, for its replay; forgotten after 30 days (app.purge_deliveries), as it has personal data.';

do $$
begin
  if not exists (select from pg_constraint where conname = 'orders_shopify_order_fkey') then
    -- checked at commit: a load may bring the cakes before their orders
    alter table public.orders add constraint orders_shopify_order_fkey
    foreign key (store, shopify_order_gid) references public.shopify_orders (store, gid)
    deferrable initially deferred;
  end if;
end;
$$;

-- Functions, internal
create or replace function app.read_json(p_body text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return p_body::jsonb;
exception
  -- cut off, \u0000, a number too large, nested too deeply; Postgres would quote it in the error
  when data_exception or program_limit_exceeded then
    perform app.fail('BAD_INPUT', 'Not JSON that can be stored.');
    return null;
end;
$$;
comment on function app.read_json is
'The body of a webhook as JSON. Raises BAD_INPUT, without quoting it, when it is none.';

create or replace function app.attention(p_order jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(reasons.reason, '; ' order by reasons.position)
    from jsonb_array_elements_text(p_order -> 'needs_attention')
      with ordinality as reasons (reason, position)
  );
end;
$$;
comment on function app.attention is
'What a person has to look at in a normalised order, as orders.needs_attention has it; else null.';

create or replace function app.reconsider(p_attention text, p_gone text[], p_come text[])
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
comment on function app.reconsider is
'orders.needs_attention without the reasons that are gone and with those that have come; null when none is left.';

create or replace function app.line_id(p_item jsonb)
returns bigint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(app.shopify_id(p_item ->> 'id', 'LineItem'), 0);
end;
$$;
comment on function app.line_id is
'Which line of its Shopify order a cake was made from; 0 when that cannot be told.';

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
  v_attention text := app.attention(p_order);
  v_added integer;
begin
  with added as (
    insert into public.orders (
      store, id, shopify_order_id, shopify_order_gid, shopify_order_number, suffix, human_id,
      customer_name, product_title, flavour, size, notes, cake_writing, delivery_method, currency,
      total_amount, order_json, accessories, due_date, due_date_text, needs_attention, is_pos,
      created_by
    )
    select
      p_store, concat_ws('-', p_store, v_number, unit.suffix), head.shopify_order_id, head.gid,
      head.order_number, unit.suffix, concat_ws('-', v_letter || v_number, unit.suffix),
      head.customer_name, unit.product_title, unit.flavour, unit.size, head.notes,
      unit.cake_writing, head.delivery_method, head.currency, unit.total_amount, unit.item,
      coalesce(unit.accessories, '[]'), head.due_date, head.due_date_text,
      v_attention, head.is_pos, v_caller.user_id
    from jsonb_to_record(p_order) as head (
      gid text, shopify_order_id bigint, order_number integer, customer_name text, notes text,
      delivery_method text, currency text, due_date date, due_date_text text, is_pos boolean
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
      'CONFLICT', format('Another order of %s has the number %s.', p_store, v_number),
      jsonb_build_object('store', p_store, 'number', v_number)
    );
  end if;
end;
$$;
comment on function app.add_units is
'Put units of a normalised order (app.shopify_order) into the kitchen, an event each. Raises CONFLICT when another order has the number.';

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
    from doomed
    where orders.store = p_store and orders.id = doomed.id
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
'Cancel these units, an event each: unassigned, their stage as it was. What is complete or cancelled stays.';

create or replace function app.move_lead(p_store text, p_gid text)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_lead text := (
    select units.id
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = p_gid
    and units.cancelled_at is null
    order by units.stage = 'Complete', length(units.suffix) nulls first, units.suffix
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
comment on function app.move_lead is
'Let the first unit of a Shopify order that still lives carry its accessories and total, if the one that did was cancelled. The unit, or null when none lives.

For whatever cancels a unit, with the row of public.shopify_orders locked.';

create or replace function app.unit_view(p_order jsonb, p_line bigint, p_lead boolean)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return p_order
    || coalesce((
      select unit.value
      from jsonb_array_elements(p_order -> 'units') with ordinality as unit (value, position)
      where app.line_id(unit.value -> 'item') = p_line
      order by unit.position
      limit 1
    ), '{}')
    || jsonb_build_object(
      'accessories', coalesce(case when p_lead then p_order #> '{units,0,accessories}' end, '[]'),
      'total_amount', case when p_lead then p_order -> 'total_amount' else '0' end
    );
end;
$$;
comment on function app.unit_view is
'What a normalised order says of a cake of this line, by the columns of orders.';

create or replace function app.edit_units(p_store text, p_old jsonb, p_new jsonb)
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  -- what an order may change: nothing of stage, times, assignee, storage and urgency
  v_fields constant text[] := array[
    'customer_name', 'notes', 'delivery_method', 'currency', 'due_date', 'due_date_text',
    'product_title', 'flavour', 'size', 'cake_writing', 'accessories', 'total_amount'
  ];
  v_gid text := p_new ->> 'gid';
  v_caller app.caller := app.actor();
  v_had integer := (
    select count(*) from public.orders as units
    where units.store = p_store and units.shopify_order_gid = v_gid
  );
  v_gone text[];
  v_more jsonb;
  v_lead text;
  v_settled text[] := array(
    select jsonb_array_elements_text(p_old -> 'needs_attention')
    except select jsonb_array_elements_text(p_new -> 'needs_attention')
  );
  v_doubts text[] := array(
    select jsonb_array_elements_text(p_new -> 'needs_attention')
    except select jsonb_array_elements_text(p_old -> 'needs_attention')
    order by 1
  );
  v_now public.orders;
  v_next public.orders;
  v_was jsonb;
  v_is jsonb;
  v_to jsonb;
  v_changes jsonb;
  v_kept text[];
  v_news text;
  v_attention text;
  v_edited boolean := false;
begin
  -- lines with fewer cakes than live here lose those furthest from done
  select array_agg(live.id) into v_gone
  from (
    select
      units.id, units.stage, app.line_id(units.order_json) as line,
      row_number() over (
        partition by app.line_id(units.order_json)
        order by units.stage desc, length(units.suffix) nulls first, units.suffix
      ) as nth
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = v_gid
    and units.cancelled_at is null
  ) as live
  where live.stage <> 'Complete' and live.nth > (
    select count(*) from jsonb_array_elements(p_new -> 'units') as unit (value)
    where app.line_id(unit.value -> 'item') = live.line
  );
  perform app.cancel_units(p_store, v_gone, 'Taken off the order in Shopify', 'shopify');

  -- lines with more cakes than before gain them; a unit that staff cancelled does not come back
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
          partition by app.line_id(unit.value -> 'item') order by unit.position
        ) as nth
      from jsonb_array_elements(p_new -> 'units') with ordinality as unit (value, position)
    ) as every
    where every.nth > (
      select count(*) from jsonb_array_elements(p_old -> 'units') as former (value)
      where app.line_id(former.value -> 'item') = app.line_id(every.unit -> 'item')
    )
  ) as wanted;
  if v_more is not null then
    perform app.add_units(p_store, p_new, v_more);
  end if;
  v_lead := app.move_lead(p_store, v_gid);

  for v_now in
    select units.*
    from public.orders as units
    where units.store = p_store and units.shopify_order_gid = v_gid
    and units.cancelled_at is null and units.stage <> 'Complete'
    order by units.id
    for update
  loop
    v_was := app.unit_view(p_old, app.line_id(v_now.order_json), v_now.id = v_lead);
    v_to := app.unit_view(p_new, app.line_id(v_now.order_json), v_now.id = v_lead);
    v_is := to_jsonb(v_now);
    -- only what changed in Shopify; and where staff have written something else, theirs stays
    select
      coalesce(jsonb_object_agg(diff.field, diff.is_to) filter (where diff.untouched), '{}'),
      array_agg(diff.field) filter (where not diff.untouched)
    into v_changes, v_kept
    from (
      select
        field, v_to -> field as is_to,
        nullif(v_is -> field, 'null') is not distinct from nullif(v_was -> field, 'null')
          as untouched
      from unnest(v_fields) as field
      where nullif(v_to -> field, 'null') is distinct from nullif(v_was -> field, 'null')
      and nullif(v_to -> field, 'null') is distinct from nullif(v_is -> field, 'null')
    ) as diff;

    -- a cake that is begun, or a text that was kept, needs somebody to look
    v_attention := app.reconsider(v_now.needs_attention, v_settled, v_doubts);
    select 'Shopify changed ' || string_agg(replace(field, '_', ' '), ', ' order by field)
    into v_news
    from unnest(
      v_kept || case
        when v_now.stage <> 'Filling' or v_now.filling_start_ts is not null
          then array(select jsonb_object_keys(v_changes))
      end
    ) as field;
    if strpos(v_attention, v_news) > 0 is not true then
      v_attention := nullif(concat_ws('; ', v_attention, v_news), '');
    end if;
    if v_attention is distinct from v_now.needs_attention then
      v_changes := v_changes || jsonb_build_object('needs_attention', v_attention);
    end if;
    continue when v_changes = '{}';

    v_next := jsonb_populate_record(v_now, v_changes);
    update public.orders as units
    set
      customer_name = v_next.customer_name, notes = v_next.notes,
      delivery_method = v_next.delivery_method, currency = v_next.currency,
      due_date = v_next.due_date, due_date_text = v_next.due_date_text,
      product_title = v_next.product_title, flavour = v_next.flavour, size = v_next.size,
      cake_writing = v_next.cake_writing, accessories = v_next.accessories,
      total_amount = v_next.total_amount, needs_attention = v_next.needs_attention,
      updated_by = v_caller.user_id
    where units.store = p_store and units.id = v_now.id;
    insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
    values (
      p_store, v_now.id, v_now.stage, 'edit', v_caller.user_id, jsonb_build_object(
        'source', 'shopify',
        'old', (
          select jsonb_object_agg(field, v_is -> field) from jsonb_object_keys(v_changes) as field
        ),
        'new', v_changes, 'kept', coalesce(v_kept, '{}')
      )
    );
    v_edited := true;
  end loop;
  return v_edited or v_gone is not null or v_more is not null;
end;
$$;
comment on function app.edit_units is
'Bring the open units of an order from one normalised payload to the next, an event each; whether anything changed.

Compared is what Shopify said with what it says: what it did not change stays as staff have it, and so does what both changed (needs_attention says so). Cakes taken off are cancelled, new ones get the next suffix, ids stay.';

create or replace function app.ingest_order(p_store text, p_topic text, p_payload jsonb)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_order jsonb := app.shopify_order(p_payload);
  v_gid text := v_order ->> 'gid';
  v_cancelled boolean := p_topic = 'orders/cancelled' or (v_order ->> 'cancelled')::boolean;
  v_at timestamptz := (v_order ->> 'updated_at')::timestamptz;
  v_known record;
  v_old jsonb;
  v_reason text;
  v_outcome text := 'unchanged';
begin
  if p_topic not in ('orders/create', 'orders/updated', 'orders/cancelled') then
    perform app.fail('BAD_INPUT', 'Not a topic that is handled here.');
  end if;
  insert into public.shopify_orders (store, gid, payload, remote_updated_at, cancelled_at)
  values (p_store, v_gid, p_payload, v_at, case when v_cancelled then app.now() end)
  on conflict (store, gid) do nothing;
  if found then
    v_outcome := 'cancelled';
    if not v_cancelled then
      perform app.add_units(p_store, v_order, v_order -> 'units');
      perform app.deduct_order(p_store, v_gid, v_order -> 'lines');
      v_outcome := 'created';
    end if;
  elsif p_topic <> 'orders/create' then
    select heads.payload, heads.remote_updated_at, heads.cancelled_at into strict v_known
    from public.shopify_orders as heads
    where heads.store = p_store and heads.gid = v_gid
    for update;
    if v_known.cancelled_at is not null or not v_cancelled and v_at < v_known.remote_updated_at then
      return v_outcome;
    end if;
    -- all its cakes by id, as whoever locks several of them does, and only then some of them
    perform from public.orders as units
    where units.store = p_store and units.shopify_order_gid = v_gid
    order by units.id
    for no key update;
    update public.shopify_orders as heads
    set
      payload = p_payload, remote_updated_at = greatest(v_at, v_known.remote_updated_at),
      cancelled_at = case when v_cancelled then app.now() end
    where heads.store = p_store and heads.gid = v_gid;
    if v_cancelled then
      v_outcome := 'cancelled';
      v_reason := coalesce(p_payload ->> 'cancel_reason', p_payload ->> 'cancelReason');
      perform app.cancel_units(
        p_store,
        array(
          select units.id from public.orders as units
          where units.store = p_store and units.shopify_order_gid = v_gid
        ),
        concat_ws(': ', 'Cancelled in Shopify', left(v_reason, 100)), 'shopify'
      );
      perform app.restock_order(p_store, v_gid);
    else
      v_old := app.shopify_order(v_known.payload);
      if app.edit_units(p_store, v_old, v_order) then
        v_outcome := 'updated';
      end if;
      if v_old -> 'lines' is distinct from v_order -> 'lines' then
        perform app.deduct_order(p_store, v_gid, v_order -> 'lines');
      end if;
    end if;
  end if;
  if v_outcome <> 'unchanged' then
    perform app.emit(
      'orders', jsonb_build_object('store', p_store, 'gid', v_gid, 'outcome', v_outcome)
    );
  end if;
  return v_outcome;
end;
$$;
comment on function app.ingest_order is
'Take in what Shopify says of an order: created, updated, cancelled, or unchanged.

orders/create only ever adds an order. An update of one that is not known adds it; one older than what is known, or of a cancelled order, changes nothing. A cancellation leaves complete cakes, gives stock back once if none is complete, and holds when the order itself comes later. Errors: BAD_INPUT, CONFLICT.';

create or replace function app.process_delivery(
  p_delivery bigint, p_store text, p_topic text, p_body text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome text;
  v_code text;
  v_reason text;
begin
  begin
    v_outcome := app.ingest_order(p_store, p_topic, app.read_json(p_body));
  exception
    -- refused by app.fail: sending it again does not help. Anything else is for the caller to retry
    when sqlstate 'PT400' or sqlstate 'PT409' then
      get stacked diagnostics v_code = pg_exception_hint, v_reason = message_text;
  end;
  update public.webhook_deliveries as deliveries
  set
    status = case when v_code is null then 'ok' else 'dead' end,
    last_error = v_code, reason = v_reason, body = case when v_code is not null then p_body end
  where deliveries.id = p_delivery
  and (v_code is not null or deliveries.status = 'dead'); -- it begins as ok
  return jsonb_build_object(
    'status', case when v_code is null then 'ok' else 'dead_letter' end, 'delivery_id', p_delivery,
    'outcome', v_outcome, 'error', v_code
  );
end;
$$;
comment on function app.process_delivery is
'Apply a delivery, or make it a dead letter with nothing else left of it. Failures that may pass are raised.';

create or replace function app.purge_deliveries()
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_purged integer;
begin
  update public.webhook_deliveries as deliveries
  set body = null
  where deliveries.status = 'dead' and deliveries.body is not null
  and deliveries.received_at < app.now() - interval '30 days';
  delete from public.webhook_deliveries as deliveries
  where deliveries.received_at < app.now() - interval '90 days';
  get diagnostics v_purged = row_count;
  return v_purged;
end;
$$;
comment on function app.purge_deliveries is
'Forget the bodies of dead letters after 30 days and every delivery after 90; how many of these went.

Shopify repeats a delivery for two days at most; an older one still finds its order taken.';

-- Functions, public
create or replace function public.ingest_shopify_webhook(
  p_shop_domain text, p_topic text, p_webhook_id text, p_hmac text, p_body text
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set jit = off -- it takes longer to compile these short statements than to run them
as $$
declare
  v_store text;
  v_signature text;
  v_delivery record;
begin
  perform app.require('service_role');
  if app.ingest_paused() then
    perform app.fail('PAUSED', 'Webhooks are held back for now.');
  end if;
  select stores.code into v_store
  from public.stores as stores
  where stores.shop_domain = lower(p_shop_domain);
  v_signature := encode(
    extensions.hmac(
      convert_to(p_body, 'UTF8'), convert_to(app.shop_secret(v_store, 'webhook'), 'UTF8'), 'sha256'
    ),
    'base64'
  );
  -- hashes are compared, so that the time this takes tells nothing about the signature
  if (
    length(p_hmac) = length(v_signature)
    and sha256(convert_to(p_hmac, 'UTF8')) = sha256(convert_to(v_signature, 'UTF8'))
    and p_topic <> '' and p_webhook_id <> ''
  ) is not true then
    perform app.fail('BAD_SIGNATURE', 'Not a webhook of a shop that is known here.');
  end if;

  insert into public.webhook_deliveries as deliveries (store, webhook_id, topic)
  values (v_store, p_webhook_id, p_topic)
  on conflict (store, webhook_id) do update
    set attempts = deliveries.attempts + 1
  returning deliveries.id, deliveries.attempts, deliveries.status into v_delivery;
  if v_delivery.attempts > 1 and v_delivery.status = 'ok' then
    return jsonb_build_object('status', 'duplicate', 'delivery_id', v_delivery.id);
  end if;
  return app.process_delivery(v_delivery.id, v_store, p_topic, p_body);
end;
$$;
comment on function public.ingest_shopify_webhook is
'Take in a Shopify webhook: four headers and the raw body, as text since PostgREST carries JSON; its UTF-8 bytes are what Shopify signed.

Nothing is written before the HMAC-SHA256 of the body matches the secret of the shop. Then all of it in one transaction; answers {status, delivery_id, outcome, error}, status being ok, duplicate (came before) or dead_letter (can never be applied; an Admin may replay it). Whatever else fails is raised and leaves nothing, for Shopify to send again.

Role: service_role. Errors: PAUSED, BAD_SIGNATURE.';
grant execute on function public.ingest_shopify_webhook to service_role;

create or replace function public.get_webhook_deliveries(
  p_store text default null, p_status text default null, p_limit integer default 50,
  p_before bigint default null
)
returns table (
  id bigint, store text, topic text, webhook_id text, status text, attempts integer,
  last_error text, reason text, can_replay boolean, received_at timestamptz,
  updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', p_store, true);
begin
  return query
  select
    deliveries.id, deliveries.store, deliveries.topic, deliveries.webhook_id, deliveries.status,
    deliveries.attempts, deliveries.last_error, deliveries.reason, deliveries.body is not null,
    deliveries.received_at, deliveries.updated_at
  from public.webhook_deliveries as deliveries
  where deliveries.store = any(v_caller.stores)
  and deliveries.store = coalesce(p_store, deliveries.store)
  and deliveries.status = coalesce(p_status, deliveries.status)
  and deliveries.id < coalesce(p_before, 9223372036854775807)
  order by deliveries.id desc
  limit least(greatest(p_limit, 1), 500);
end;
$$;
comment on function public.get_webhook_deliveries is
'Webhooks that came, newest first, at most 500 at once; the next page is p_before the last id.

p_status: ok, dead.

Role: Admin or service_role. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_webhook_deliveries to authenticated, service_role;

create or replace function public.replay_webhook_delivery(p_id bigint)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', null, true);
  v_delivery record;
begin
  select deliveries.store, deliveries.topic, deliveries.status, deliveries.body into v_delivery
  from public.webhook_deliveries as deliveries
  where deliveries.id = p_id and deliveries.store = any(v_caller.stores)
  for update;
  if not found then
    perform app.fail(
      'NOT_FOUND', format('No delivery %s.', p_id), jsonb_build_object('delivery_id', p_id)
    );
  end if;
  if v_delivery.status = 'ok' then
    return jsonb_build_object('status', 'duplicate', 'delivery_id', p_id);
  end if;
  if v_delivery.body is null then
    perform app.fail(
      'CONFLICT', 'The body of this delivery is no longer kept.',
      jsonb_build_object('delivery_id', p_id)
    );
  end if;
  update public.webhook_deliveries as deliveries
  set attempts = deliveries.attempts + 1
  where deliveries.id = p_id;
  perform app.audit('replay_webhook_delivery', v_delivery.store, p_id::text);
  return app.process_delivery(p_id, v_delivery.store, v_delivery.topic, v_delivery.body);
end;
$$;
comment on function public.replay_webhook_delivery is
'Try a dead letter again, once its cause is gone. Answers as ingest_shopify_webhook; duplicate when it is not dead.

Role: Admin or service_role. Errors: NOT_FOUND, CONFLICT (its body is no longer kept).';
grant execute on function public.replay_webhook_delivery to authenticated, service_role;

-- Triggers
create or replace trigger shopify_orders_set_updated_at
before update on public.shopify_orders
for each row execute function app.set_updated_at();
create or replace trigger webhook_deliveries_set_updated_at
before update on public.webhook_deliveries
for each row execute function app.set_updated_at();

select app.assert_grants();

commit;
