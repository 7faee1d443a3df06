begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop policy if exists stores_select_authenticated on public.stores;
drop policy if exists staff_shared_select_authenticated on public.staff_shared;
drop function if exists
app.my_stores, app.is_staff, app.require_performer, app.require_every_store, app.require, app.actor,
app.uid;
drop type if exists app.caller;
commit;
