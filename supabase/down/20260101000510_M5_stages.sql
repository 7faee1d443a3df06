-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.print_barcode(text, text), public.handle_print_barcode(text, text, uuid, jsonb),
public.complete_filling(text, text, text), public.start_covering(text, text),
public.complete_covering(text, text, text), public.start_decorating(text, text),
public.complete_decorating(text, text, text), public.start_packing(text, text, uuid),
public.complete_packing(text, text, text), public.qc_return_to_decorating(text, text, text),
public.mark_order_complete(text, text), app.advance_order(text, app.caller, text, text, jsonb);
drop table if exists app.stage_transitions;

commit;
