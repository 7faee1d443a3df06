select
  r.rolsuper as superuser,
  r.rolcreaterole as creates_roles,
  current_setting('server_version') as version,
  pg_has_role(d.datdba, 'USAGE') as owns_database,
  (
    select count(*) = 4
    from pg_roles as api
    where api.rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
  )
  and to_regclass('auth.users') is not null as has_platform
from pg_roles as r, pg_database as d
where r.rolname = current_user and d.datname = current_database()
