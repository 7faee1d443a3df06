-- What opens the data to the API by mistake: rules of the Supabase advisors, and two of our own.
-- An object has its name of catalog.sql. In a union, only the first query names the columns.
-- noqa: disable=AL03,RF02
with recursive
members as (
  select d.objid
  from pg_depend as d
  where d.deptype = 'e' and d.classid in ('pg_class'::regclass, 'pg_proc'::regclass)
),

callers as (
  select r.rolname
  from pg_roles as r
  where r.rolname in ('anon', 'authenticated', 'service_role')
),

relations as (
  select
    c.*,
    s.nspname = 'public' as is_public,
    (
      select bool_or(has_any_column_privilege(x.rolname, c.oid, 'select'))
      from callers as x
      where x.rolname <> 'service_role'
    ) as readable,
    format('%I.%I', s.nspname, c.relname) as label,
    case c.relkind
      when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
      else 'table'
    end || format(' %I.%I', s.nspname, c.relname) as object
  from pg_class as c
  inner join schemas as s on c.relnamespace = s.oid
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.oid not in (select m.objid from members as m)
),

functions as (
  select
    f.*,
    s.nspname,
    format('function %I.%I(%s)', s.nspname, f.proname, pg_get_function_identity_arguments(f.oid))
      as object
  from pg_proc as f
  inner join schemas as s on f.pronamespace = s.oid
  where f.oid not in (select m.objid from members as m)
),

views_of_users as (
  select to_regclass('auth.users')::oid as oid
  union
  select w.ev_class
  from views_of_users as u
  inner join pg_depend as d on u.oid = d.refobjid and d.classid = 'pg_rewrite'::regclass
  inner join pg_rewrite as w on d.objid = w.oid
)

select
  'rls_disabled_in_public' as rule,
  r.object,
  'the API shows every row, because row level security is off' as what,
  'Enable row level security, and add the policies that callers need' as advice
from relations as r
where r.is_public and r.relkind in ('r', 'p') and not r.relrowsecurity

union all
select
  'policy_exists_rls_disabled',
  r.object,
  'its policies have no effect, because row level security is off',
  'Enable row level security'
from relations as r
where
  not r.relrowsecurity
  and exists (
    select from pg_policy as p
    where p.polrelid = r.oid
  )

union all
select
  'security_definer_view',
  r.object,
  'reads with the rights of its owner, whom row level security does not stop',
  'Create the view with (security_invoker = true)'
from relations as r
where
  r.is_public and r.relkind = 'v'
  and not coalesce(r.reloptions::text ~ 'security_invoker=(true|on|yes|1)', false)

union all
select
  case r.relkind when 'm' then 'materialized_view_in_api' else 'foreign_table_in_api' end,
  r.object,
  'callers of the API can read every row, because it can have no policies',
  'Revoke select from anon and authenticated, or move it out of public'
from relations as r
where r.is_public and r.relkind in ('m', 'f') and r.readable

union all
select
  'auth_users_exposed',
  r.object,
  'callers of the API can read accounts of auth.users',
  'Revoke select from anon and authenticated, or leave auth.users out'
from relations as r
inner join views_of_users as u on r.oid = u.oid
where r.readable

union all
select
  'api_role_can_write',
  r.object,
  x.rolname || ' can write without an RPC',
  'Grant select alone, and write through an RPC'
from relations as r
cross join callers as x
where
  has_table_privilege(x.rolname, r.oid, 'insert, update, delete, truncate')
  or has_any_column_privilege(x.rolname, r.oid, 'insert, update')

union all
select
  'rls_policy_always_true',
  format('policy %I on %s', p.polname, r.label),
  'lets everybody write every row',
  'State which rows a caller may write'
from relations as r
inner join pg_policy as p on r.oid = p.polrelid
where
  p.polpermissive and p.polcmd <> 'r'
  and 'true' in (pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))

union all
select
  'rls_references_user_metadata',
  format('policy %I on %s', p.polname, r.label),
  'trusts user_metadata, which every account can write',
  'Read app_metadata or a table of your own'
from relations as r
inner join pg_policy as p on r.oid = p.polrelid
where
  concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  ~ '\muser_metadata\M'

union all
select
  'definer_function_for_anon',
  f.object,
  'callers without an account can run it with the rights of its owner',
  'Revoke execute from public and anon'
from functions as f
inner join callers as x on x.rolname = 'anon'
where
  f.prosecdef and has_schema_privilege(x.rolname, f.pronamespace, 'usage')
  and has_function_privilege(x.rolname, f.oid, 'execute')

union all
select
  'function_search_path_mutable',
  f.object,
  'its names can lead to objects of the caller, because its search_path is not fixed',
  'Add: set search_path = pg_catalog, pg_temp'
from functions as f
where
  f.nspname in ('public', 'app') and f.prokind in ('f', 'p', 'w')
  and not coalesce(f.proconfig::text ~ '[{",]search_path=', false)

union all
select
  'extension_in_public',
  'extension ' || e.extname,
  'the API shows its functions',
  'Create it in the schema extensions'
from pg_extension as e
where e.extnamespace = to_regnamespace('public')
