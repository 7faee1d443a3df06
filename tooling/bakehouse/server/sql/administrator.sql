-- What the current user may not do for the migration role $1 in this database: the statements that
-- an administrator must run before `bakehouse bootstrap`. A superuser may do everything.
with
me as (
  select
    r.*,
    -- from 16 on, CREATEROLE gives only what its holder has, and rules only the roles that its
    -- holder created or has the ADMIN option for
    current_setting('server_version_num')::int >= 160000 as limited
  from pg_roles as r
  where r.rolname = current_user and not r.rolsuper
),

without_bypassrls as (
  select
    needed.role,
    r.oid is not null as is_there
  from (values ('service_role'::name), ($1::name)) as needed (role)
  left join pg_roles as r on needed.role = r.rolname
  where r.rolbypassrls is not true
),

lacking as (
  select
    me.rolname,
    concat_ws(
      ' ', case when not me.rolcreaterole then 'createrole' end,
      case when not me.rolcreatedb then 'createdb' end,
      case
        when me.limited and not me.rolbypassrls and exists (select from without_bypassrls)
          then 'bypassrls'
      end
    ) as attributes
  from me
)

select format('alter role %I %s', lacking.rolname, lacking.attributes) as statement
from lacking
where lacking.attributes <> ''

union all
select
  format(
    '%s role %I bypassrls', case when needed.is_there then 'alter' else 'create' end, needed.role
  ) as statement
from me
cross join without_bypassrls as needed
where not me.limited

union all
select format('grant %I to %I with admin option', r.rolname, me.rolname) as statement
from me
cross join pg_roles as r
left join pg_roles as migrator on $1::name = migrator.rolname
where
  me.limited
  and not pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION')
  and (
    r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator', $1::name)
    or r.rolname in ('bakehouse_owner', 'pg_monitor', 'pg_read_all_data', 'pg_signal_backend')
    and pg_has_role(migrator.oid, r.oid, 'USAGE') is not true
  )

union all
select format('alter database %I owner to %I', d.datname, me.rolname) as statement
from me
cross join pg_database as d
where
  d.datname = current_database()
  and not pg_has_role(d.datdba, 'USAGE')
  and pg_get_userbyid(d.datdba) <> $1::name
