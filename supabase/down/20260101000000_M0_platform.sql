-- Drops what the migration of this name creates. Keeps the schema extensions and its extensions,
-- because others may use them. Keeps the role, because it belongs to the whole server.
begin;
set local lock_timeout = '5s';
drop schema if exists private;
drop schema if exists app;
revoke all on schema public, extensions from bakehouse_owner;
alter default privileges for role bakehouse_owner grant execute on functions to public;
commit;
