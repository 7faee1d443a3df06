-- M0 platform: the schemas, and the one role that owns everything in them.

begin;
set local lock_timeout = '5s';

create schema if not exists extensions;
create extension if not exists pgcrypto with schema extensions;
create extension if not exists pg_trgm with schema extensions;

do $$
begin
  if not exists (select from pg_roles where rolname = 'bakehouse_owner') then
    create role bakehouse_owner nologin;
  end if;
exception
  when duplicate_object or unique_violation then
    null; -- another database of this server created the role at the same moment
end;
$$;
do $$
begin
  -- since Postgres 16, the creator of a role is a member without USAGE: check USAGE
  if not pg_has_role(current_user, 'bakehouse_owner', 'USAGE') then
    grant bakehouse_owner to current_user;
  end if;
end;
$$;

create schema if not exists app authorization bakehouse_owner;
create schema if not exists private authorization bakehouse_owner;
grant usage on schema extensions to bakehouse_owner;
grant usage, create on schema public to bakehouse_owner;

set local role bakehouse_owner;

comment on schema app is 'Internal functions and tables. Never exposed through the API.';
comment on schema private is 'Pay and secrets. No API role has access.';

revoke all on schema app, private from public, anon, authenticated, service_role;
grant usage on schema app to authenticated, service_role; -- policies call functions of app
-- for all schemas: a default of one schema cannot revoke the global EXECUTE of PUBLIC
alter default privileges revoke execute on functions from public;

commit;
