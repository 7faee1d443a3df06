begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists app.refresh_priorities;
drop table if exists public.stage_events, public.orders;
drop function if exists app.keep_identity;
drop type if exists public.event_type;
drop type if exists public.stage_type;

commit;
