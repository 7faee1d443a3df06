-- Create what a hosted Supabase project provides and plain Postgres 15 to 18 lacks.
--
-- Runs through platform.bootstrap, which sets bakehouse.migration_role, bakehouse.migration_secret,
-- bakehouse.authenticator_secret and bakehouse.regime. The user is a superuser, or one for whom
-- administrator.sql names nothing. A second run changes nothing. Attributes, memberships and limits
-- of the roles are in missing.sql.

do $$ -- lock a shared table: roles belong to the cluster, and an advisory lock to one database
begin
  lock table pg_catalog.pg_authid in share row exclusive mode;
exception when insufficient_privilege then
  null; -- of two runs at once, one may then fail and be rolled back
end;
$$;

-- Roles
do $$
declare
  v_migrator constant name := current_setting('bakehouse.migration_role');
  v_role name;
  v_secret text;
begin
  foreach v_role in array array[
    'anon', 'authenticated', 'service_role', 'authenticator', v_migrator
  ] loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
      execute format('create role %I', v_role);
    end if;
  end loop;
  if not pg_has_role(v_migrator, 'USAGE') then -- from 16 on, not even the creator has it
    execute format('grant %I to %I', v_migrator, current_user);
  end if;
  begin
    execute format('alter role %I replication', v_migrator);
  exception when insufficient_privilege then
    null; -- as on Supabase, but nothing here needs it
  end;

  -- the secrets are SCRAM hashes: the server never sees a password
  v_secret := current_setting('bakehouse.migration_secret');
  if v_secret <> '' then
    execute format('alter role %I password %L', v_migrator, v_secret);
  end if;
  v_secret := current_setting('bakehouse.authenticator_secret');
  if v_secret <> '' then
    execute format('alter role authenticator password %L', v_secret);
  end if;
end;
$$;

do $$
declare
  v_libraries text;
begin
  select setting into v_libraries from pg_catalog.pg_config() where name = 'PKGLIBDIR';
  if
    pg_stat_file(v_libraries || '/safeupdate.so', true) is not null
    or pg_stat_file(v_libraries || '/safeupdate.dylib', true) is not null
  then
    alter role authenticator set session_preload_libraries = 'safeupdate';
  end if;
exception when insufficient_privilege then
  null; -- only a superuser may look for the library and load it
end;
$$;

-- Database and schemas
do $$
declare
  v_migrator constant name := current_setting('bakehouse.migration_role');
begin
  execute format('alter database %I owner to %I', current_database(), v_migrator);

  execute format('create schema if not exists extensions authorization %I', v_migrator);
  execute format('alter schema extensions owner to %I', v_migrator);
  -- this user owns them, so that the migration role cannot change them
  create schema if not exists auth;
  create schema if not exists storage;
  create schema if not exists realtime;

  execute format('grant usage on schema auth to %I', v_migrator);
  execute format('grant usage on schema storage, realtime to %I with grant option', v_migrator);
end;
$$;

revoke create on schema public from public;
grant usage on schema public, extensions, auth, storage, realtime
to anon, authenticated, service_role;

create extension if not exists pgcrypto with schema extensions;
do $$ -- some builds of Postgres do not have it
begin
  if exists (select from pg_catalog.pg_available_extensions where name = 'uuid-ossp') then
    create extension if not exists "uuid-ossp" with schema extensions;
  end if;
end;
$$;

-- Auth
create table if not exists auth.users (
  id uuid primary key,
  aud varchar(255),
  role varchar(255),
  email varchar(255),
  encrypted_password varchar(255),
  email_confirmed_at timestamptz,
  phone text unique,
  last_sign_in_at timestamptz,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  is_sso_user boolean not null default false,
  is_anonymous boolean not null default false,
  banned_until timestamptz,
  created_at timestamptz,
  updated_at timestamptz,
  deleted_at timestamptz
);
create unique index if not exists users_email_partial_key
on auth.users (email) where not is_sso_user;
alter table auth.users enable row level security;

do $$
declare
  v_migrator constant name := current_setting('bakehouse.migration_role');
begin
  execute format(
    'grant insert, update, delete, references, trigger on auth.users to %I', v_migrator
  );
  execute format('grant select on auth.users to %I with grant option', v_migrator);
end;
$$;

-- like on Supabase, these raise an error if a claim is malformed
create or replace function auth.uid()
returns uuid
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;

create or replace function auth.role()
returns text
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
  )::text
$$;

create or replace function auth.email()
returns text
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')
  )::text
$$;

create or replace function auth.jwt()
returns jsonb
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;

-- Storage
create table if not exists storage.buckets (
  id text primary key,
  name text not null unique,
  public boolean default false,
  file_size_limit bigint,
  allowed_mime_types text[],
  owner_id text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create table if not exists storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text references storage.buckets (id),
  name text,
  owner_id text,
  metadata jsonb,
  user_metadata jsonb,
  version text,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  last_accessed_at timestamptz default now()
);
create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant all on table storage.buckets, storage.objects to anon, authenticated, service_role;

do $$ -- as on Supabase, let the migration role add policies: on plain Postgres it must own them
declare
  v_migrator constant name := current_setting('bakehouse.migration_role');
begin
  execute format('grant create on schema storage to %I', v_migrator); -- to become an owner there
  execute format('alter table storage.buckets owner to %I', v_migrator);
  execute format('alter table storage.objects owner to %I', v_migrator);
  execute format('revoke create on schema storage from %I', v_migrator);
end;
$$;

create or replace function storage.foldername(name text)
returns text[]
language sql
immutable
as $$
  select parts[1 : array_length(parts, 1) - 1]
  from (select string_to_array($1, '/') as parts) as path
$$;

create or replace function storage.filename(name text)
returns text
language sql
immutable
as $$
  select parts[array_length(parts, 1)]
  from (select string_to_array($1, '/') as parts) as path
$$;

create or replace function storage.extension(name text)
returns text
language sql
immutable
as $$
  select reverse(split_part(reverse(storage.filename($1)), '.', 1))
$$;

create or replace function storage.protect_delete()
returns trigger
language plpgsql
as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
    using errcode = '42501';
  end if;
  return null;
end;
$$;
create or replace trigger protect_buckets_delete
before delete on storage.buckets
for each statement execute function storage.protect_delete();
create or replace trigger protect_objects_delete
before delete on storage.objects
for each statement execute function storage.protect_delete();

-- Realtime
do $$
declare
  v_migrator constant name := current_setting('bakehouse.migration_role');
begin
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  execute format('alter publication supabase_realtime owner to %I', v_migrator);
end;
$$;

-- Default privileges
do $$
declare
  v_prefix constant text := format(
    'alter default privileges for role %I in schema public ',
    current_setting('bakehouse.migration_role')
  );
  v_api constant text := 'anon, authenticated, service_role';
begin
  execute v_prefix || 'grant all on tables to ' || v_api;
  execute v_prefix || 'grant all on sequences to ' || v_api;
  execute v_prefix || 'grant all on functions to ' || v_api;
  -- the same rights that Supabase Studio revokes for new projects: TRUNCATE, for example, stays
  if current_setting('bakehouse.regime') = 'explicit' then
    execute v_prefix || 'revoke select, insert, update, delete on tables from ' || v_api;
    execute v_prefix || 'revoke usage, select on sequences from ' || v_api;
    execute v_prefix || 'revoke execute on functions from ' || v_api;
  end if;
end;
$$;
