-- M5 stage calls: the RPCs that name a move.
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
        'customer_name', orders.customer_name, 'product_title', orders.product_title,
        'flavour', orders.flavour, 'size', orders.size, 'cake_writing', orders.cake_writing,
        'due_date', orders.due_date, 'delivery_method', orders.delivery_method,
        'priority', upper(app.priority_label(orders.priority)), 'barcode_content', orders.id,
        'printed_at', app.now(), 'printed_by', v_caller.user_id
      )
    from public.orders as orders
    where orders.store = v_print ->> 'store' and orders.id = p_order_id
  );
end;
$$;
comment on function public.print_barcode is
'What the label of an order says, for printing. barcode_content is the id: scanning it finds this very cake.

The first print begins Filling and is an event; a reprint, at any stage, writes nothing and answers already_done. priority is HIGH, MEDIUM or LOW.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.print_barcode to authenticated;

create or replace function public.handle_print_barcode(
  p_barcode text,
  p_order_id text default null,
  p_performed_by uuid default null,
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
      'CONFLICT', format('The barcode is of order %s, not of %s.', v_order_id, p_order_id),
      jsonb_build_object('scanned', v_order_id, 'order_id', p_order_id)
    );
  end if;
  return app.advance_order('print', v_caller, v_order_id, null, p_context);
end;
$$;
comment on function public.handle_print_barcode is
'Begin Filling by scanning the printed barcode. Any form of scan will do (get_order_for_scan).

A repeat answers already_done, as does an order that was printed before. p_order_id, where given, has to be the order scanned. p_performed_by is the caller; the service names the member of staff whose scanner it speaks for. p_context is kept with the event.

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
'Finish filling an order.

Moves it to Covering and frees its assignee. A repeat answers already_done. p_notes are kept with the event.

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
'Begin covering an order.

It stays where it is. A repeat answers already_done.

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
'Finish covering an order.

Moves it to Decorating and frees its assignee. A repeat answers already_done. p_notes are kept with the event.

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
'Begin decorating an order.

It stays where it is. A repeat answers already_done.

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
'Finish decorating an order.

Moves it to Packing and frees its assignee. A repeat answers already_done. p_notes are kept with the event.

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
'Begin packing an order.

It stays where it is. A repeat answers already_done. p_performed_by is the caller; the service names the member of staff whom it speaks for.

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
'Finish packing an order: it is Complete.

Counts as its start as well, where nobody said when packing began. A repeat answers already_done. p_notes are kept with the event.

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
'Send an order that fails quality control back from Packing to Decorating; from Complete, an Admin.

Its decorating and packing times begin anew and its assignee is freed; both rounds stay in the events. p_notes, the reason, are kept with the event. A repeat answers already_done.

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
'Make an order Complete from whatever stage it is in.

Its event is the completion of that stage, with the context that it was forced. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, BAD_INPUT, INVALID_STAGE, CANCELLED, CONFLICT.';
grant execute on function public.mark_order_complete to authenticated;

select app.assert_grants();
commit;
