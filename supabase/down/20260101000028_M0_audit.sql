begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.audit, app.emit, app.broadcast;
drop table if exists public.audit_log;
drop function if exists app.purge_audit, app.audit_begins, app.append_only;
commit;
