-- M5 manual orders: create orders by hand, and cancel orders.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

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
  v_fields jsonb;
  v_order public.orders;
begin
  select stores.code, stores.scan_letter, stores.currency
  into v_shop.code, v_shop.scan_letter, v_shop.currency
  from public.stores as stores where stores.code = p_store;
  if (v_number ~ '^[A-Z][1-9][0-9]{0,8}$' and left(v_number, 1) = v_shop.scan_letter) is not true
  then
    perform app.fail(
      'BAD_INPUT', 'p_order_number must be the letter of the store and a number of 1 to 9 digits.',
      jsonb_build_object('field', 'order_number', 'letter', v_shop.scan_letter)
    );
  end if;
  v_fields := app.clean_order_fields(jsonb_build_object(
    'customer_name', p_customer_name, 'product_title', p_product_title, 'size', p_size,
    'flavour', p_flavour, 'due_date', p_due_date, 'cake_writing', p_writing_on_cake,
    'product_image', p_image_url, 'notes', p_notes
  ));
  v_order := jsonb_populate_record(null::public.orders, v_fields);

  insert into public.order_contacts (store, order_gid, customer_name)
  values (v_shop.code, v_shop.code || '-' || v_number, v_fields ->> 'customer_name')
  on conflict (store, order_gid) do nothing;
  insert into public.orders as orders (
    store, id, shopify_order_number, human_id, product_title, size, flavour,
    due_date, cake_writing, product_image, notes, delivery_method, currency, needs_attention,
    created_by, updated_by, site
  )
  select
    v_shop.code, v_shop.code || '-' || v_number, substr(v_number, 2)::integer, v_number,
    v_order.product_title, v_order.size, v_order.flavour,
    v_order.due_date, v_order.cake_writing, v_order.product_image, v_order.notes, 'manual',
    v_shop.currency, nullif(concat_ws(
      '; ', case when v_order.due_date is null then 'No due date' end,
      case when v_order.flavour is null then 'No flavour' end
    ), ''),
    v_caller.user_id, v_caller.user_id, app.choose_site(v_shop.code, 'manual')
  where not exists (
    select from public.orders as others
    where others.store = v_shop.code and others.shopify_order_number = substr(v_number, 2)::integer
  )
  on conflict (store, id) do nothing
  returning orders.* into v_order;
  if not found then
    perform app.fail(
      'CONFLICT', format('Store %s has an order with the number %s.', v_shop.code, v_number),
      jsonb_build_object('store', v_shop.code, 'number', v_number)
    );
  end if;
  perform app.record_order_event(v_caller, v_order, 'create', '{"source": "manual"}');
  perform app.order_changed(v_order.store, v_order.id);
  return v_order.id;
end;
$$;
comment on function public.create_manual_order is
'Creates an order that did not come through Shopify. Returns its id.

The number is the letter of the store and digits, in upper or lower case. B55555 becomes bannos-B55555. An order without a due date or a flavour needs attention. No other order of the store may have the number. If Shopify later sends an order with this number, a scan of the number alone is ambiguous.

Role: Supervisor. Errors: BAD_INPUT, CONFLICT.';
grant execute on function public.create_manual_order to authenticated;

create or replace function public.cancel_order(
  p_order_id text, p_store text default null, p_reason text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_reason text;
  v_whole text;
  v_order public.orders;
begin
  perform app.require_order('Admin', p_order_id, p_store);
  v_reason := app.clean_order_fields(jsonb_build_object('reason', p_reason)) ->> 'reason';
  -- the other units too: one of them may get the accessories and the total
  v_whole := app.lock_whole_order(p_order_id);
  v_order := app.lock_order(p_order_id, false);
  if v_order.cancelled_at is not null then
    return app.order_result(v_order.store, v_order.id, v_order.stage, true);
  elsif v_order.stage = 'Complete' then
    perform app.fail(
      'INVALID_STAGE', format('Order %s is complete, so it cannot be cancelled.', p_order_id),
      jsonb_build_object('order_id', p_order_id, 'stage', v_order.stage, 'needs', 'open')
    );
  end if;
  perform app.cancel_units(v_store, array[p_order_id], v_reason, 'staff');
  perform app.move_order_extras(v_store, v_whole);
  perform app.order_changed(v_store, v_whole);
  perform app.announce_order(v_order, 'cancel');
  return app.order_result(v_order.store, v_order.id, v_order.stage, false);
end;
$$;
comment on function public.cancel_order is
'Cancels an order that is not complete, and removes its assignee. The order keeps its stage. A repeat returns already_done.

In a split order, cancels only this unit. The next unit takes over its accessories and total. The order gives back the stock of this unit. After its last unit, the order gives back everything. Complete units keep their stock.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, INVALID_STAGE.';
grant execute on function public.cancel_order to authenticated;

create or replace function public.deduct_on_order_create(p_order_gid text, p_payload jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_order jsonb;
  v_stores text[];
  v_done jsonb;
begin
  perform app.require('service_role');
  v_order := app.shopify_order(p_payload);
  if v_order ->> 'gid' is distinct from p_order_gid then
    perform app.fail(
      'BAD_INPUT', 'p_payload must be the payload of the order p_order_gid.',
      jsonb_build_object('order_gid', p_order_gid)
    );
  end if;
  v_stores := array(
    select heads.store from public.shopify_orders as heads where heads.gid = p_order_gid
  );
  if cardinality(v_stores) <> 1 then
    perform app.fail(
      case cardinality(v_stores) when 0 then 'NOT_FOUND' else 'CONFLICT' end,
      format('%s stores have this order. This action needs one.', cardinality(v_stores)),
      jsonb_build_object('order_gid', p_order_gid, 'stores', v_stores)
    );
  end if;
  perform from public.shopify_orders as heads
  where heads.store = v_stores[1] and heads.gid = p_order_gid for update;
  v_done := app.settle_order(v_stores[1], p_order_gid);
  return jsonb_build_object(
    'deducted', v_done -> 'taken', 'shortages', v_done -> 'held',
    'already_done', v_done -> 'is_repeated'
  );
end;
$$;
comment on function public.deduct_on_order_create is
'Settles the stock of a Shopify order with its stored lines. Returns {deducted, shortages, already_done}.

Ingest has already done this, so a repeat takes nothing. p_payload only proves which order is meant.

Role: service_role. Errors: BAD_INPUT (not an order, or another order), NOT_FOUND, CONFLICT (several stores have the order).';
grant execute on function public.deduct_on_order_create to service_role;

create or replace function public.resettle_order(p_order_id text, p_store text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := app.store_of(p_order_id);
  v_done jsonb;
begin
  perform app.require_order('Admin', p_order_id, p_store);
  v_done := app.settle_order(v_store, app.lock_whole_order(p_order_id)) - 'is_repeated';
  perform app.audit('resettle_order', v_store, p_order_id, v_done);
  return jsonb_build_object('order_id', p_order_id) || v_done;
end;
$$;
comment on function public.resettle_order is
'Settles the stock of an order again, after its recipe, items or keywords were corrected. Returns {order_id, taken, returned, held, released}.

Each of the four is a list of {sku, quantity, matched_by}. Settles all cakes of a split order. An order without an open cake keeps what it took. Audited.

Role: Admin. Errors: NOT_FOUND.';
grant execute on function public.resettle_order to authenticated;

select app.assert_grants();
commit;
