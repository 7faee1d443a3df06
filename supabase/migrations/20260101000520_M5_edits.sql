-- M5 edits: what is decided about an order beside its stage: who makes it, what it says, whether
-- it is made at all.
--
-- Needs: M0 M1 M2 M3

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.order_answer(p_order public.orders, p_already_done boolean)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'order_id', p_order.id, 'store', p_order.store, 'stage', p_order.stage,
    'already_done', p_already_done
  );
end;
$$;
comment on function app.order_answer is
'What an RPC that writes to an order answers.';

create or replace function app.record_change(
  p_caller app.caller, p_order public.orders, p_event public.event_type, p_meta jsonb
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.stage_events (store, order_id, stage, event_type, staff_id, meta)
  values (p_order.store, p_order.id, p_order.stage, p_event, p_caller.user_id, p_meta);
  perform app.emit(
    'orders', jsonb_build_object(
      'store', p_order.store, 'order_id', p_order.id, 'event', p_event, 'stage', p_order.stage
    )
  );
  return app.order_answer(p_order, false);
end;
$$;
comment on function app.record_change is
'Write down and announce what the caller has just done to an order, and answer them.';

create or replace function app.checked_fields(p_fields jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_fields jsonb := (
    select jsonb_object_agg(
      given.field, case
        when jsonb_typeof(given.content) = 'string'
          then to_jsonb(app.shopify_text(given.content #>> '{}'))
        else given.content
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
      'BAD_INPUT', format('%s has to be %s.', replace(v_wrong.field, '_', ' '), v_wrong.needs),
      jsonb_build_object('field', v_wrong.field)
    );
  end if;
  return v_fields;
end;
$$;
comment on function app.checked_fields is
'What people type into an order, by the columns of orders, as it may be stored: text without control characters and outer blanks, blank text as null.

A null clears. Errors: BAD_INPUT (too long, out of range, or nothing where something has to be).';

create or replace function app.lock_order(p_order_id text, p_live boolean default true)
returns public.orders
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_order public.orders;
begin
  select orders.* into v_order
  from public.orders as orders
  where orders.store = split_part(p_order_id, '-', 1) and orders.id = p_order_id
  for no key update;
  if not found then
    perform app.fail(
      'NOT_FOUND', format('No order %s.', p_order_id), jsonb_build_object('order_id', p_order_id)
    );
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
'An order as it is now and stays until this transaction ends. Errors: NOT_FOUND, CANCELLED (unless p_live is false).';

create or replace function app.edit_order(
  p_caller app.caller, p_order_id text, p_fields jsonb
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_fields jsonb := app.checked_fields(p_fields);
  v_order public.orders := app.lock_order(p_order_id);
  v_was jsonb := to_jsonb(v_order);
  v_next public.orders;
  v_gone text[] := array[]::text[];
  v_come text[] := array[]::text[];
begin
  v_next := jsonb_populate_record(v_order, v_fields);
  if v_next.storage is distinct from v_order.storage and v_next.storage is not null
    and not app.setting(v_order.store, 'storage_locations') ? v_next.storage
  then
    perform app.fail(
      'BAD_INPUT', format('%s has no such storage location.', v_order.store),
      jsonb_build_object(
        'field', 'storage', 'locations', app.setting(v_order.store, 'storage_locations')
      )
    );
  end if;

  -- what ingest was in doubt about is settled by a value, and comes back when that is taken away
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
  v_next.needs_attention := app.reconsider(v_next.needs_attention, v_gone, v_come);

  select jsonb_object_agg(field.key, field.value) into v_fields
  from jsonb_each(to_jsonb(v_next)) as field
  where field.value is distinct from v_was -> field.key;
  if v_fields is null then
    return app.order_answer(v_order, true);
  end if;
  update public.orders as orders
  set
    customer_name = v_next.customer_name, product_title = v_next.product_title,
    flavour = v_next.flavour, size = v_next.size, notes = v_next.notes,
    cake_writing = v_next.cake_writing, item_qty = v_next.item_qty, storage = v_next.storage,
    delivery_method = v_next.delivery_method, due_date = v_next.due_date,
    priority_override = v_next.priority_override, needs_attention = v_next.needs_attention,
    updated_by = p_caller.user_id
  where orders.store = v_order.store and orders.id = v_order.id;
  return app.record_change(
    p_caller, v_order, 'edit', jsonb_build_object(
      'source', 'staff',
      'old', (
        select jsonb_object_agg(field, v_was -> field) from jsonb_object_keys(v_fields) as field
      ),
      'new', v_fields
    )
  );
end;
$$;
comment on function app.edit_order is
'Give an order these fields, by the columns of orders, with one event that has the old and the new of what changed; null clears. Nothing changed: already_done, no event.

A due date or a flavour settles what ingest was in doubt about (needs_attention); taking it away brings the doubt back. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';

create or replace function app.set_assignee(
  p_caller app.caller, p_order_id text, p_event public.event_type, p_staff_id uuid, p_note text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_note text := app.checked_fields(jsonb_build_object('note', p_note)) ->> 'note';
  v_order public.orders := app.lock_order(p_order_id);
begin
  if p_event = 'assign' and not exists (
    select from public.staff_shared as staff
    where staff.user_id = p_staff_id and staff.is_active and staff.approved
    and coalesce(staff.store, v_order.store) = v_order.store
  ) then
    perform app.fail(
      case when p_staff_id is null then 'BAD_INPUT' else 'NOT_FOUND' end,
      format('Not the account of active, approved staff of %s.', v_order.store),
      jsonb_build_object('staff_id', p_staff_id, 'store', v_order.store)
    );
  end if;
  if not v_order.is_open then
    perform app.fail(
      'INVALID_STAGE', format('There is nothing left to make of order %s.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', 'open')
    );
  end if;
  if v_order.assignee_id is not distinct from p_staff_id then
    return app.order_answer(v_order, true);
  end if;
  update public.orders as orders
  set assignee_id = p_staff_id, updated_by = p_caller.user_id
  where orders.store = v_order.store and orders.id = v_order.id;
  return app.record_change(
    p_caller, v_order, p_event, jsonb_build_object(
      'assigned_to', p_staff_id, 'assigned_from', v_order.assignee_id, 'note', v_note
    )
  );
end;
$$;
comment on function app.set_assignee is
'Give an open order to somebody (assign) or to nobody (unassign, staff null), an event each; whose it is already: already_done.

Errors: NOT_FOUND (order or staff), BAD_INPUT, CANCELLED, INVALID_STAGE.';

-- Functions, public: who makes it
create or replace function public.assign_staff(
  p_order_id text, p_store text default null, p_staff_id uuid default null,
  p_note text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_assignee(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id, 'assign', p_staff_id, p_note
  );
end;
$$;
comment on function public.assign_staff is
'Give an open order to a member of staff: active, approved and of its store.

The stage stays; whoever had the order has it no more. Theirs already: already_done.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED, INVALID_STAGE.';
grant execute on function public.assign_staff to authenticated;

create or replace function public.unassign_staff(p_order_id text, p_store text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_assignee(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id, 'unassign', null, null
  );
end;
$$;
comment on function public.unassign_staff is
'Take an open order away from whoever has it. Nobody has it: already_done.

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
      'BAD_INPUT', 'Name 1 to 100 orders and whom they are for.',
      jsonb_build_object('orders', cardinality(p_order_ids), 'staff_id', p_staff_id)
    );
  end if;
  for v_order_id in
    select orders.id
    from public.orders as orders
    where orders.store = any(v_caller.stores) and orders.store = coalesce(p_store, orders.store)
    and orders.id = any(p_order_ids) and orders.is_open
    and orders.assignee_id is distinct from p_staff_id
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
'Give 1 to 100 orders to a member of staff; how many were given.

Left out are ids that are not orders of the store, or without one of a store of the caller, orders that are complete or cancelled, and those that are theirs already. Somebody who does not work in the store of one of the others gets none.

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
'The older name of assign_staff_bulk.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.bulk_assign to authenticated;

-- Functions, public: what it says
create or replace function public.set_storage(
  p_store text default null, p_order_id text default null, p_storage text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.edit_order(
    app.require_order('Staff', p_order_id, p_store), p_order_id,
    jsonb_build_object('storage', p_storage)
  );
end;
$$;
comment on function public.set_storage is
'Say where an order stands, complete or not: one of the storage locations of its store. Blank: nowhere.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.set_storage to authenticated;

create or replace function public.update_order_notes(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.edit_order(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id,
    jsonb_build_object('notes', p_notes)
  );
end;
$$;
comment on function public.update_order_notes is
'Replace the notes of an order. Blank: none.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_notes to authenticated;

create or replace function public.update_order_priority(
  p_order_id text, p_store text default null, p_priority text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_order('Supervisor', p_order_id, p_store);
  v_rank smallint := (
    select ranks.rank from unnest('{1,2,3}'::smallint[]) as ranks (rank)
    where lower(app.priority_label(ranks.rank)) = lower(btrim(p_priority))
  );
begin
  if v_rank is null and btrim(p_priority) <> '' then
    perform app.fail(
      'BAD_INPUT', 'A priority is High, Medium or Low.', '{"field": "priority"}'
    );
  end if;
  return app.edit_order(
    v_caller, p_order_id, jsonb_build_object('priority_override', v_rank)
  );
end;
$$;
comment on function public.update_order_priority is
'Fix the priority of an order: High, Medium or Low. Blank: it follows the due date again.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_priority to authenticated;

create or replace function public.update_order_due_date(
  p_order_id text, p_store text default null, p_due_date date default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.edit_order(
    app.require_order('Supervisor', p_order_id, p_store), p_order_id,
    jsonb_build_object('due_date', p_due_date)
  );
end;
$$;
comment on function public.update_order_due_date is
'Set the day an order is due. Null: unknown, so that it needs attention.

Its priority follows, unless it was fixed by hand.

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
      'BAD_INPUT', 'p_clear lists fields of this call that are not set by it as well.',
      jsonb_build_object('clear', p_clear)
    );
  end if;
  return app.edit_order(
    v_caller, p_order_id, (
      select coalesce(jsonb_object_agg(field.key, field.value), '{}')
      from jsonb_each(v_given) as field
      where field.value <> 'null' or field.key = any(p_clear)
    )
  );
end;
$$;
comment on function public.update_order_core is
'Change what an order says, several fields at once.

A field that is null stays as it is. p_clear empties fields by name, as in {notes, due_date}: flavour, notes, due_date, size, storage, cake_writing, and needs_attention for an order that somebody has looked at. Blank text empties too. Customer, product, quantity and delivery method are never empty.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CANCELLED.';
grant execute on function public.update_order_core to authenticated;

-- Functions, public: whether it is made
create or replace function public.create_manual_order(
  p_store text, p_order_number text, p_customer_name text, p_product_title text,
  p_size text default null, p_flavour text default null, p_due_date date default null,
  p_writing_on_cake text default null, p_image_url text default null, p_notes text default null
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor', p_store);
  v_shop public.stores;
  v_number text := upper(btrim(p_order_number));
  v_order public.orders;
begin
  select stores.code, stores.scan_letter, stores.currency
  into v_shop.code, v_shop.scan_letter, v_shop.currency
  from public.stores as stores where stores.code = p_store;
  if (v_number ~ '^[A-Z][1-9][0-9]{0,8}$' and left(v_number, 1) = v_shop.scan_letter) is not true
  then
    perform app.fail(
      'BAD_INPUT', 'An order number is the letter of its store and 1 to 9 digits.',
      jsonb_build_object('field', 'order_number', 'letter', v_shop.scan_letter)
    );
  end if;
  v_order := jsonb_populate_record(null::public.orders, app.checked_fields(jsonb_build_object(
    'customer_name', p_customer_name, 'product_title', p_product_title, 'size', p_size,
    'flavour', p_flavour, 'due_date', p_due_date, 'cake_writing', p_writing_on_cake,
    'product_image', p_image_url, 'notes', p_notes
  )));

  insert into public.orders as orders (
    store, id, shopify_order_number, human_id, customer_name, product_title, size, flavour,
    due_date, cake_writing, product_image, notes, delivery_method, currency, needs_attention,
    created_by, updated_by
  )
  select
    v_shop.code, v_shop.code || '-' || v_number, substr(v_number, 2)::integer, v_number,
    v_order.customer_name, v_order.product_title, v_order.size, v_order.flavour,
    v_order.due_date, v_order.cake_writing, v_order.product_image, v_order.notes, 'manual',
    v_shop.currency, nullif(concat_ws(
      '; ', case when v_order.due_date is null then 'No due date' end,
      case when v_order.flavour is null then 'No flavour' end
    ), ''),
    v_caller.user_id, v_caller.user_id
  where not exists (
    select from public.orders as others
    where others.store = v_shop.code and others.shopify_order_number = substr(v_number, 2)::integer
  )
  on conflict (store, id) do nothing
  returning orders.* into v_order;
  if not found then
    perform app.fail(
      'CONFLICT', format('An order of %s has the number %s.', v_shop.code, v_number),
      jsonb_build_object('store', v_shop.code, 'number', v_number)
    );
  end if;
  perform app.record_change(v_caller, v_order, 'create', '{"source": "manual"}');
  return v_order.id;
end;
$$;
comment on function public.create_manual_order is
'Take in an order that did not come through Shopify; its id.

The number is the letter of the store and digits, in either case: B55555 becomes bannos-B55555. Without a due date or a flavour it needs attention. No other order of the store may have the number; should one come from Shopify later, a scan of the number alone is ambiguous.

Role: Supervisor. Errors: BAD_INPUT, CONFLICT.';
grant execute on function public.create_manual_order to authenticated;

create or replace function public.cancel_order(
  p_order_id text, p_store text default null, p_reason text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := split_part(p_order_id, '-', 1);
  v_reason text;
  v_gid text;
  v_order public.orders;
begin
  perform app.require_order('Admin', p_order_id, p_store);
  v_reason := app.checked_fields(jsonb_build_object('reason', p_reason)) ->> 'reason';
  select orders.shopify_order_gid into v_gid
  from public.orders as orders
  where orders.store = v_store and orders.id = p_order_id;

  -- its siblings too: one of them may have to carry what this one does
  perform from public.shopify_orders as heads
  where heads.store = v_store and heads.gid = v_gid
  for update;
  perform from public.orders as units
  where units.store = v_store and units.shopify_order_gid = v_gid
  order by units.id
  for no key update;
  v_order := app.lock_order(p_order_id, false);
  if v_order.cancelled_at is not null then
    return app.order_answer(v_order, true);
  end if;
  if v_order.stage = 'Complete' then
    perform app.fail(
      'INVALID_STAGE', format('Order %s is complete.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', 'open')
    );
  end if;

  perform app.cancel_units(v_store, array[p_order_id], v_reason, 'staff');
  perform app.move_lead(v_store, v_gid);
  if v_gid is not null and not exists (
    select from public.orders as units
    where units.store = v_store and units.shopify_order_gid = v_gid
    and units.cancelled_at is null and units.stage <> 'Complete'
  ) then
    perform app.restock_order(v_store, v_gid);
  end if;
  perform app.emit(
    'orders', jsonb_build_object(
      'store', v_store, 'order_id', p_order_id, 'event', 'cancel', 'stage', v_order.stage
    )
  );
  return app.order_answer(v_order, false);
end;
$$;
comment on function public.cancel_order is
'Cancel an order that is not complete. It keeps its stage, nobody has it any more, and a repeat answers already_done.

Of a split order this one cake: the next takes over its accessories and total. With the last one the stock goes back, unless a cake of the order is complete, and what the order waited for is released.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, INVALID_STAGE.';
grant execute on function public.cancel_order to authenticated;

select app.assert_grants();

commit;
