begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.mark_order_complete, public.qc_return_to_decorating, public.complete_packing,
public.start_packing, public.complete_decorating, public.start_decorating, public.complete_covering,
public.start_covering, public.complete_filling, public.handle_print_barcode, public.print_barcode;
commit;
