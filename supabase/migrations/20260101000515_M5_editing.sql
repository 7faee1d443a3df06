-- M5 editing: change the texts, due date, priority and storage of an order.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.clean_order_fields(p_fields jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_fields jsonb := (
    select jsonb_object_agg(
      given.field, case
        when jsonb_typeof(given.content) <> 'string' then given.content
        when given.field in ('notes', 'cake_writing', 'note', 'reason')
          then to_jsonb(app.clean_text(given.content #>> '{}'))
        else to_jsonb(app.clean_name(given.content #>> '{}'))
      end
    )
    from jsonb_each(p_fields) as given (field, content)
  );
  v_wrong record;
begin
  select rules.field, rules.needs into v_wrong
  from (
    values
    ('customer_name', true, '1 to 200 characters', length(v_fields ->> 'customer_name') <= 200),
    ('product_title', true, '1 to 200 characters', length(v_fields ->> 'product_title') <= 200),
    ('flavour', false, 'at most 200 characters', length(v_fields ->> 'flavour') <= 200),
    ('storage', false, 'at most 200 characters', length(v_fields ->> 'storage') <= 200),
    ('size', false, 'at most 100 characters', length(v_fields ->> 'size') <= 100),
    ('notes', false, 'at most 5000 characters', length(v_fields ->> 'notes') <= 5000),
    ('cake_writing', false, 'at most 500 characters', length(v_fields ->> 'cake_writing') <= 500),
    ('note', false, 'at most 500 characters', length(v_fields ->> 'note') <= 500),
    ('reason', false, 'at most 500 characters', length(v_fields ->> 'reason') <= 500),
    ('item_qty', true, '1 to 1000', (v_fields ->> 'item_qty')::integer between 1 and 1000),
    (
      'delivery_method', true, 'pickup, delivery or manual',
      v_fields ->> 'delivery_method' in ('pickup', 'delivery', 'manual')
    ),
    (
      'due_date', false, 'a date from 2000 to 2099',
      (v_fields ->> 'due_date')::date between '2000-01-01' and '2099-12-31'
    ),
    (
      'product_image', false, 'an https address of at most 2000 characters',
      v_fields ->> 'product_image' ~ '^https:/{2}[^\s"<>\\]+$'
      and length(v_fields ->> 'product_image') <= 2000
    )
  ) as rules (field, is_required, needs, fits)
  where v_fields ? rules.field and not coalesce(rules.fits, not rules.is_required)
  limit 1;
  if found then
    perform app.fail(
      'BAD_INPUT', format('%s must be %s.', replace(v_wrong.field, '_', ' '), v_wrong.needs),
      jsonb_build_object('field', v_wrong.field)
    );
  end if;
  return v_fields;
end;
$$;
comment on function app.clean_order_fields is
'Returns fields of an order as they can be stored, named like the columns of orders and order_contacts. Cleans texts (app.clean_text) and names (app.clean_name), and turns blank texts into null.

Null clears a field. Errors: BAD_INPUT (too long, out of range, or empty where a value is required).';

create or replace function app.edit_order(p_caller app.caller, p_order_id text, p_fields jsonb)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_fields jsonb := app.clean_order_fields(p_fields);
  v_order public.orders := app.lock_order(p_order_id);
  v_was jsonb := to_jsonb(v_order) || jsonb_build_object(
    'customer_name', public.customer_name(v_order)
  );
  v_next public.orders;
  v_gone text[] := array[]::text[];
  v_come text[] := array[]::text[];
  v_result jsonb;
begin
  v_next := jsonb_populate_record(v_order, v_fields);
  if v_next.storage is distinct from v_order.storage and v_next.storage is not null
    and not app.setting(v_order.store, 'storage_locations') ? v_next.storage
  then
    perform app.fail(
      'BAD_INPUT',
      format('Store %s has no such storage location. DETAIL lists its locations.', v_order.store),
      jsonb_build_object(
        'field', 'storage', 'locations', app.setting(v_order.store, 'storage_locations')
      )
    );
  end if;

  -- A value removes the attention reason that ingest added. Clearing the field adds a reason.
  if v_next.due_date is not null then
    v_gone := v_gone || array['No due date', 'Due date unclear'];
  elsif v_order.due_date is not null then
    v_come := array_append(v_come, 'No due date');
  end if;
  if v_next.flavour is not null then
    v_gone := array_append(v_gone, 'No flavour');
  elsif v_order.flavour is not null then
    v_come := array_append(v_come, 'No flavour');
  end if;
  v_next.needs_attention := app.merge_attention(v_next.needs_attention, v_gone, v_come);

  select jsonb_object_agg(field.key, field.value) into v_fields
  from jsonb_each(to_jsonb(v_next) || jsonb_build_object(
    'customer_name', coalesce(v_fields -> 'customer_name', v_was -> 'customer_name')
  )) as field
  where field.value is distinct from v_was -> field.key;
  if v_fields is null then
    return app.order_result(v_order.store, v_order.id, v_order.stage, true);
  end if;
  update public.orders as orders
  set
    product_title = v_next.product_title, flavour = v_next.flavour, size = v_next.size,
    notes = v_next.notes,
    cake_writing = v_next.cake_writing, item_qty = v_next.item_qty, storage = v_next.storage,
    delivery_method = v_next.delivery_method, due_date = v_next.due_date,
    priority_override = v_next.priority_override, needs_attention = v_next.needs_attention,
    updated_by = p_caller.user_id
  where orders.store = v_order.store and orders.id = v_order.id;
  update public.order_contacts as contacts
  set customer_name = v_fields ->> 'customer_name'
  where v_fields ? 'customer_name' and contacts.store = v_order.store
  and contacts.order_gid = coalesce(v_order.shopify_order_gid, v_order.id);
  v_result := app.record_order_event(
    p_caller, v_order, 'edit', '{"source": "staff"}'::jsonb || app.edit_meta(v_was, v_fields)
  );
  -- the stock of a Shopify order follows its lines
  if v_order.shopify_order_gid is null and v_fields ?| '{product_title,item_qty}' then
    perform app.order_changed(v_order.store, v_order.id);
  end if;
  return v_result;
end;
$$;
comment on function app.edit_order is
'Sets fields of an order, named like the columns of orders. Null clears a field. customer_name is the name in order_contacts, so it changes for all cakes of the order. Returns app.order_result.

Records one event with the old and new values of the changed fields, except for the name. If nothing changes, returns already_done and records no event. A due date or flavour removes its reason from needs_attention. If either is cleared, the reason returns. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';

create or replace function public.set_storage(
  p_store text default null, p_order_id text default null, p_storage text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.edit_order(
    app.require_order('Staff', p_order_id, p_store), p_order_id,
    jsonb_build_object('storage', p_storage)
  );
$$;
comment on function public.set_storage is
'Sets the storage location of an order, in any stage. The location must belong to the store of the order. A blank value clears the location.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.set_storage to authenticated;

create or replace function public.update_order_notes(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.edit_order(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id,
    jsonb_build_object('notes', p_notes)
  );
$$;
comment on function public.update_order_notes is
'Replaces the notes of an order. A blank value clears them.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_notes to authenticated;

create or replace function public.update_order_priority(
  p_order_id text, p_store text default null, p_priority text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.edit_order(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id,
    jsonb_build_object('priority_override', app.priority_of(p_priority))
  );
$$;
comment on function public.update_order_priority is
'Sets the priority of an order: High, Medium or Low. With a blank value, the priority follows the due date again.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_priority to authenticated;

create or replace function public.update_order_due_date(
  p_order_id text, p_store text default null, p_due_date date default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.edit_order(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id,
    jsonb_build_object('due_date', p_due_date)
  );
$$;
comment on function public.update_order_due_date is
'Sets the due date of an order. With null, the date is unknown and the order needs attention.

The priority follows the date, unless update_order_priority has set the priority.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_due_date to authenticated;

create or replace function public.update_order_core(
  p_order_id text, p_store text default null, p_customer_name text default null,
  p_product_title text default null, p_flavour text default null, p_notes text default null,
  p_due_date date default null, p_delivery_method text default null, p_size text default null,
  p_item_qty integer default null, p_storage text default null, p_cake_writing text default null,
  p_clear text[] default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_order('Supervisor', p_order_id, p_store);
  v_given jsonb := jsonb_build_object(
    'customer_name', p_customer_name, 'product_title', p_product_title, 'flavour', p_flavour,
    'notes', p_notes, 'due_date', p_due_date, 'delivery_method', lower(p_delivery_method),
    'size', p_size, 'item_qty', p_item_qty, 'storage', p_storage, 'cake_writing', p_cake_writing,
    'needs_attention', null
  );
begin
  if exists (
    select from unnest(p_clear) as cleared (field)
    where v_given -> cleared.field is distinct from 'null'
  ) then
    perform app.fail(
      'BAD_INPUT', 'p_clear has an unknown field, or a field that this call also sets.',
      jsonb_build_object('clear', p_clear)
    );
  end if;
  return app.edit_order(
    v_caller, p_order_id, (
      select coalesce(jsonb_object_agg(field.key, field.value), '{}')
      from jsonb_each(v_given) as field where field.value <> 'null' or field.key = any(p_clear)
    )
  );
end;
$$;
comment on function public.update_order_core is
'Changes several fields of an order at once.

A null field stays as it is. p_clear lists fields to clear, such as {notes, due_date}. These fields can be cleared: flavour, notes, due_date, size, storage, cake_writing and needs_attention. Clear needs_attention once a person has looked at the order. A blank text also clears its field. Customer, product, quantity and delivery method must have a value. A new name of the customer counts for all cakes of the order.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_core to authenticated;

create or replace function public.set_order_site(
  p_order_id text, p_site text, p_store text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_order('Supervisor', p_order_id, p_store);
  v_store text := app.store_of(p_order_id);
  v_whole text;
  v_units text[];
  v_order public.orders;
begin
  if not coalesce(p_site = any(app.sites_of(array[v_store])), false) then
    perform app.fail(
      'BAD_INPUT', format('Store %s has no such site. DETAIL lists its sites.', v_store),
      jsonb_build_object('site', p_site, 'sites', app.sites_of(array[v_store]))
    );
  end if;
  v_whole := app.lock_whole_order(p_order_id);
  v_units := app.units_of(v_store, v_whole);
  v_order := app.lock_order(p_order_id);
  if v_order.site = p_site then
    return app.order_result(v_store, p_order_id, v_order.stage, true);
  elsif exists (
    select from public.orders as units
    where units.store = v_store and units.id = any(v_units) and units.cancelled_at is null
    and (units.stage <> 'Filling' or units.filling_start_ts is not null)
  ) then
    perform app.fail(
      'INVALID_STAGE', format('Order %s has begun; this action needs unbegun cakes.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', 'Filling')
    );
  end if;

  update public.shopify_orders as heads
  set site = p_site
  where heads.store = v_store and heads.gid = v_whole;
  update public.orders as units
  set site = p_site, updated_by = v_caller.user_id
  where units.store = v_store and units.id = any(v_units);
  perform app.record_order_event(v_caller, units, 'edit', jsonb_build_object(
    'source', 'staff', 'old', jsonb_build_object('site', v_order.site),
    'new', jsonb_build_object('site', p_site)
  ))
  from public.orders as units
  where units.store = v_store and units.id = any(v_units) and units.cancelled_at is null;
  perform app.order_changed(v_store, v_whole);
  return app.order_result(v_store, p_order_id, v_order.stage, false);
end;
$$;
comment on function public.set_order_site is
'Changes the site that makes an order, until its Filling begins. Moves the stock that the order took to its new site.

All cakes of a split order move together. Missing stock at the new site becomes a hold. A repeat returns already_done.

Role: Supervisor. Errors: BAD_INPUT (a site of another store), NOT_FOUND, CANCELLED, INVALID_STAGE (a cake has begun).';
grant execute on function public.set_order_site to authenticated;

select app.assert_grants();
commit;
