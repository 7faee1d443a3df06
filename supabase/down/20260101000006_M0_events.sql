-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.audit_log, public.stage_events;
drop function if exists app.audit, app.emit, app.broadcast, app.append_only;
drop type if exists public.event_type;

commit;
