-- M5 stage calls: the RPCs that execute a move of an order.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.print_barcode(
  p_store text default null, p_order_id text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_caller app.caller := app.require_order('Staff', p_order_id, p_store);
  v_print jsonb;
begin
  v_print := app.advance_order('print', v_caller, p_order_id);
  return (
    select
      v_print || jsonb_build_object(
        'order_number', orders.shopify_order_number, 'human_id', orders.human_id,
        'customer_name', contacts.customer_name, 'product_title', orders.product_title,
        'flavour', orders.flavour, 'size', orders.size, 'cake_writing', orders.cake_writing,
        'due_date', orders.due_date, 'delivery_method', orders.delivery_method,
        'priority', upper(app.priority_label(orders.priority)), 'barcode_content', orders.id,
        'printed_at', app.now(), 'printed_by', v_caller.user_id
      )
    from public.orders as orders
    left join public.order_contacts as contacts
      on contacts.store = orders.store
      and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
    where orders.store = v_print ->> 'store' and orders.id = p_order_id
  );
end;
$$;
comment on function public.print_barcode is
'Returns the label of an order for printing. barcode_content is the id of the order, so a scan finds exactly this order.

The first print starts Filling and records an event. A reprint is possible at any stage, writes nothing and returns already_done. priority is HIGH, MEDIUM or LOW.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.print_barcode to authenticated;

create or replace function public.handle_print_barcode(
  p_barcode text, p_order_id text default null, p_performed_by uuid default null,
  p_context jsonb default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_performer('Staff', null, p_performed_by);
  v_order_id text := app.resolve_scan(v_caller, p_barcode);
begin
  if p_order_id <> v_order_id then
    perform app.fail(
      'CONFLICT', format('This barcode is of order %s, not of order %s.', v_order_id, p_order_id),
      jsonb_build_object('scanned', v_order_id, 'order_id', p_order_id)
    );
  end if;
  return app.advance_order('print', v_caller, v_order_id, null, p_context);
end;
$$;
comment on function public.handle_print_barcode is
'Starts Filling when the printed barcode is scanned. p_barcode may have any form that get_order_for_scan reads.

A repeat, or an order that was printed before, returns already_done. If p_order_id is given, it must be the scanned order. Staff leave p_performed_by null or pass their own id. The service must name a member of staff. p_context is stored with the event.

Role: Staff. Errors: AMBIGUOUS_SCAN, NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.handle_print_barcode to authenticated, service_role;

create or replace function public.complete_filling(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('complete_filling', p_order_id, p_store, p_notes);
end;
$$;
comment on function public.complete_filling is
'Finishes filling an order.

Moves the order to Covering and removes its assignee. A repeat returns already_done. p_notes are stored with the event.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.complete_filling to authenticated;

create or replace function public.start_covering(p_order_id text, p_store text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('start_covering', p_order_id, p_store);
end;
$$;
comment on function public.start_covering is
'Starts covering an order.

The order stays in Covering. A repeat returns already_done.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.start_covering to authenticated;

create or replace function public.complete_covering(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('complete_covering', p_order_id, p_store, p_notes);
end;
$$;
comment on function public.complete_covering is
'Finishes covering an order.

Moves the order to Decorating and removes its assignee. A repeat returns already_done. p_notes are stored with the event.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.complete_covering to authenticated;

create or replace function public.start_decorating(p_order_id text, p_store text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('start_decorating', p_order_id, p_store);
end;
$$;
comment on function public.start_decorating is
'Starts decorating an order.

The order stays in Decorating. A repeat returns already_done.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.start_decorating to authenticated;

create or replace function public.complete_decorating(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('complete_decorating', p_order_id, p_store, p_notes);
end;
$$;
comment on function public.complete_decorating is
'Finishes decorating an order.

Moves the order to Packing and removes its assignee. A repeat returns already_done. p_notes are stored with the event.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.complete_decorating to authenticated;

create or replace function public.start_packing(
  p_order_id text, p_store text default null, p_performed_by uuid default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('start_packing', p_order_id, p_store, p_performed_by => p_performed_by);
end;
$$;
comment on function public.start_packing is
'Starts packing an order.

The order stays in Packing. A repeat returns already_done. Staff leave p_performed_by null or pass their own id. The service must name a member of staff.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.start_packing to authenticated, service_role;

create or replace function public.complete_packing(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('complete_packing', p_order_id, p_store, p_notes);
end;
$$;
comment on function public.complete_packing is
'Finishes packing an order and moves it to Complete.

Also sets the start of packing, if packing was never started. A repeat returns already_done. p_notes are stored with the event.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.complete_packing to authenticated;

create or replace function public.qc_return_to_decorating(
  p_order_id text, p_store text default null, p_notes text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('qc_return_to_decorating', p_order_id, p_store, p_notes);
end;
$$;
comment on function public.qc_return_to_decorating is
'Sends an order that failed quality control back from Packing to Decorating. An Admin may also send back a complete order.

Clears the decorating and packing times and the assignee. The events keep both rounds. p_notes give the reason and are stored with the event. A repeat returns already_done.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.qc_return_to_decorating to authenticated;

create or replace function public.mark_order_complete(p_order_id text, p_store text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.act('mark_order_complete', p_order_id, p_store, p_context => '{"forced": true}');
end;
$$;
comment on function public.mark_order_complete is
'Moves an order from any stage to Complete.

Records the completion of the current stage, with {"forced": true} as context. A repeat returns already_done.

Role: Admin. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.mark_order_complete to authenticated;

select app.assert_grants();
commit;
