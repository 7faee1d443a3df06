-- Why the platform cannot be set up in this database by this user for the migration role $1: one
-- row for each reason, with the next step. $2: on Supabase.
select
  'this server is Supabase, which has the whole platform' as message,
  'Run `bakehouse migrate up`.' as hint
where $2::boolean

union all
select
  format('the role %s is a superuser and cannot be the migration role', r.rolname) as message,
  'Choose another name: a superuser would hide what fails on Supabase.' as hint
from pg_roles as r
where r.rolname = $1::name and r.rolsuper

union all
select
  format('%s cannot set up the platform for itself', current_user) as message,
  'Run this as another role: on Supabase, the migration role does not own the schemas auth,'
  ' storage and realtime.' as hint
where current_user = $1::name

union all
select
  format('%s owns the platform of this database, and %s may not change it', o.rolname, current_user)
    as message,
  format('Run this as %s.', o.rolname) as hint
from pg_namespace as n
inner join pg_roles as o on n.nspowner = o.oid
where n.nspname = 'auth' and not pg_has_role(n.nspowner, 'USAGE')
