begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.store_of, app.today;
drop table if exists public.stores;
drop function if exists app.set_updated_at;
commit;
