-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.print_barcode, public.handle_print_barcode, public.complete_filling, public.start_covering,
public.complete_covering, public.start_decorating, public.complete_decorating, public.start_packing,
public.complete_packing, public.qc_return_to_decorating, public.mark_order_complete,
app.advance_order;
drop table if exists app.stage_transitions;

commit;
