-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.stores;
drop function if exists app.today, app.set_updated_at;

commit;
