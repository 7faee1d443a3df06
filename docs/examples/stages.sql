-- Chapter 1: Moving an order through its stages

-- get_order_for_scan as Staff
select * from public.get_order_for_scan('#B10001');

-- print_barcode as Staff
select public.print_barcode('bannos', 'bannos-10001');

-- handle_print_barcode as Staff
select public.handle_print_barcode('bannos-10001', p_context => '{"station": "filling 2"}');

-- complete_filling as Staff
select public.complete_filling('bannos-10001', p_notes => 'Second batch of mango');

-- start_covering as Staff
select public.complete_filling('bannos-10001');
select public.start_covering('bannos-10001');

-- complete_covering as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');

-- start_decorating as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');
select public.start_decorating('bannos-10001');

-- complete_decorating as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');
select public.complete_decorating('bannos-10001');

-- start_packing as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');
select public.complete_decorating('bannos-10001');
select public.start_packing('bannos-10001');

-- complete_packing as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');
select public.complete_decorating('bannos-10001');
select public.complete_packing('bannos-10001');

-- qc_return_to_decorating as Staff
select public.complete_filling('bannos-10001');
select public.complete_covering('bannos-10001');
select public.complete_decorating('bannos-10001');
select public.qc_return_to_decorating('bannos-10001', p_notes => 'The name is misspelt');

-- mark_order_complete as Admin
select public.mark_order_complete('bannos-10001');
