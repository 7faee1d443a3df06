-- Takes away what the migration of this name creates, but for what others may use by now: the
-- schema extensions with its extensions, and the role, which belongs to the whole server.
begin;
set local lock_timeout = '5s';
drop schema if exists private;
drop schema if exists app;
revoke all on schema public, extensions from bakehouse_owner;
alter default privileges for role bakehouse_owner grant execute on functions to public;
commit;
