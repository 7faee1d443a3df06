-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists private.staff_pay, public.staff_shared;
-- cascade: the policy on stores, which came with this file
drop function if exists app.my_stores cascade;
drop function if exists app.is_staff, app.require;
drop function if exists app.actor, app.uid;
drop type if exists app.caller, public.staff_role;

commit;
