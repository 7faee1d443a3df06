begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.record_order_event, app.announce_order, app.edit_meta, app.order_message, app.order_result,
app.units_of, app.lock_order, app.require_order;
commit;
