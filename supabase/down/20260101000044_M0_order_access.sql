begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.record_order_event, app.announce_order, app.order_message, app.order_result, app.lock_order,
app.require_order;
commit;
