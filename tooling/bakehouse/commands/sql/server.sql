-- The server, the migration role and the platform, as checks of `bakehouse doctor`.
with
found as (
  select
    r.rolsuper,
    pg_has_role(d.datdba, 'USAGE') and r.rolcreaterole as is_fit,
    to_regclass('auth.users') is not null
    and (
      select count(*) = 4
      from pg_roles as api
      where api.rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
    ) as has_platform
  from pg_roles as r, pg_database as d
  where r.rolname = current_user and d.datname = current_database()
)

select
  'server' as name,
  'good' as state,
  'Postgres ' || current_setting('server_version') as detail

union all
select
  'migration role' as name,
  case when found.is_fit and not found.rolsuper then 'good' else 'bad' end as state,
  case
    when found.rolsuper
      then 'a superuser hides what fails on Supabase: migrate as the database''s owner'
    when found.is_fit then 'owns the database, is no superuser'
    else 'must own the database and have CREATEROLE'
  end as detail
from found

union all
select
  'platform' as name,
  case when found.has_platform then 'good' else 'bad' end as state,
  case
    when found.has_platform then 'API roles and auth.users are there'
    else 'missing: run `bakehouse bootstrap`'
  end as detail
from found
