begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.order_changed, app.call_registered, app.register_hook, app.check_registered;
drop table if exists app.hooks;
commit;
