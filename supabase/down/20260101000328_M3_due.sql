begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.stock_due, app.order_pieces, app.stock_booked,
app.lock_whole_order, app.order_head;
drop table if exists public.reservation_holds;
commit;
