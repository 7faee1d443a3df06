begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists app.record_change, app.order_answer, app.lock_order, app.require_order;

commit;
