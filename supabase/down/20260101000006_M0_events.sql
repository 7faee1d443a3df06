-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.audit_log, public.stage_events;
drop function if exists
app.audit(text, text, text, jsonb), app.emit(text, jsonb), app.broadcast(text, jsonb),
app.append_only();
drop type if exists public.event_type;

commit;
