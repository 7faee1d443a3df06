-- What the server, or the current database, lacks for the migration role $1: a row for each fault,
-- with the one statement that repairs it. `bakehouse bootstrap` runs these statements, so each
-- changes only what is missing. $2: on Supabase, where the provider makes the API roles.
with
attributes (role, wanted) as (
  values
  ('anon'::name, 'nologin noinherit'),
  ('authenticated', 'nologin noinherit'),
  ('service_role', 'nologin noinherit bypassrls'),
  ('authenticator', 'login noinherit'),
  ($1::name, 'login inherit createdb createrole bypassrls')
),

limits (role, setting, value) as ( -- a role whose setting is 0 has no limit
  values
  ('anon'::name, 'statement_timeout', '3s'),
  ('authenticated', 'statement_timeout', '8s'),
  -- Supabase leaves it to the limit of authenticator, which is the same but is often raised
  ('service_role', 'statement_timeout', '8s'),
  ('authenticator', 'statement_timeout', '8s'),
  ('authenticator', 'lock_timeout', '8s') -- PostgREST keeps this one for the roles that it takes
),

memberships (member, role, rights, grantable) as (
  values
  ('authenticator'::name, 'anon'::name, 'MEMBER', ''),
  ('authenticator', 'authenticated', 'MEMBER', ''),
  ('authenticator', 'service_role', 'MEMBER', ''),
  -- the creator of a role is a member, and a dump of an older major can lose that
  ($1::name, 'bakehouse_owner', 'USAGE', ''),
  ($1, 'pg_monitor', 'USAGE', ''),
  ($1, 'pg_read_all_data', 'USAGE', ''),
  ($1, 'pg_signal_backend', 'USAGE', '')
  union all
  select
    $1::name as member,
    api.role,
    'MEMBER WITH ADMIN OPTION' as rights,
    ' with admin option' as grantable
  from (values ('anon'::name), ('authenticated'), ('service_role')) as api (role)
  where not $2::boolean
)

select
  'role bakehouse_owner' as subject,
  'does not exist, and its objects need it' as fault,
  'create role bakehouse_owner nologin' as repair
where
  to_regnamespace('app') is not null
  and to_regrole('bakehouse_owner') is null

union all
select
  format('role %s', r.rolname) as subject,
  format('is not %s', string_agg(one.attribute, ' ')) as fault,
  format('alter role %I %s', r.rolname, string_agg(one.attribute, ' ')) as repair
from attributes
inner join pg_roles as r on attributes.role = r.rolname
cross join unnest(string_to_array(attributes.wanted, ' ')) as one (attribute)
where
  not $2
  and not r.rolsuper
  and one.attribute not in (
    case when r.rolcanlogin then 'login' else 'nologin' end,
    case when r.rolinherit then 'inherit' else 'noinherit' end,
    case when r.rolcreatedb then 'createdb' else '' end,
    case when r.rolcreaterole then 'createrole' else '' end,
    case when r.rolbypassrls then 'bypassrls' else '' end
  )
group by r.rolname

union all
select
  format('role %s', r.rolname) as subject,
  format('has no %s', limits.setting) as fault,
  format('alter role %I set %s = %L', r.rolname, limits.setting, limits.value) as repair
from limits
inner join pg_roles as r on limits.role = r.rolname
where
  not ($2 and limits.role = 'service_role')
  and not exists (
    select from unnest(r.rolconfig) as one (setting)
    where one.setting ~ format('^%s=(?!0\D*$)', limits.setting)
  )

union all
select
  format('role %s', member.rolname) as subject,
  format('is not a member of %s%s', role.rolname, memberships.grantable) as fault,
  format('grant %I to %I%s', role.rolname, member.rolname, memberships.grantable) as repair
from memberships
inner join pg_roles as member on memberships.member = member.rolname
inner join pg_roles as role on memberships.role = role.rolname
where not pg_has_role(member.oid, role.oid, memberships.rights)

union all
select
  format('role %s', r.rolname) as subject,
  'has no search_path' as fault,
  format('alter role %I set search_path = "$user", public, extensions', r.rolname) as repair
from pg_roles as r
where
  r.rolname = $1::name
  and not r.rolsuper
  and not exists (
    select from unnest(r.rolconfig) as one (setting)
    where one.setting like 'search\_path=%'
  )

union all
select
  format('database %s', current_database()) as subject,
  'has no statement_timeout' as fault,
  format('alter database %I set statement_timeout = ''2min''', current_database()) as repair
from pg_settings as s
where s.name = 'statement_timeout' and s.reset_val = '0'
