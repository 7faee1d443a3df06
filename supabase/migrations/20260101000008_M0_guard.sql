-- M0 guard: the check of all rights. Every later file ends with this check.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.assert_grants()
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_offences text;
begin
  with ours as ( -- relations, their columns, and functions
    select
      rel.oid, rel.oid::regclass::text as name, rel.relnamespace as schema, rel.relowner as owner,
      case rel.relkind when 'S' then 'sequence' else 'relation' end as kind,
      coalesce(
        rel.relacl, acldefault(case rel.relkind when 'S' then 's' else 'r' end::"char", rel.relowner)
      ) as acl
    from pg_class as rel where rel.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select
      rel.oid, format('%s.%I', rel.oid::regclass, col.attname), rel.relnamespace, rel.relowner,
      'column', col.attacl
    from pg_class as rel
    inner join pg_attribute as col on col.attrelid = rel.oid
    where col.attacl is not null
    union all
    select
      fun.oid, fun.oid::regprocedure::text, fun.pronamespace, fun.proowner,
      'function', coalesce(fun.proacl, acldefault('f', fun.proowner))
    from pg_proc as fun
  ),
  scoped as ( -- skips extensions, and in public the objects of foreign owners
    select ours.*, nsp.nspname
    from ours
    inner join pg_namespace as nsp on nsp.oid = ours.schema
    where (
      nsp.nspname in ('app', 'private')
      or nsp.nspname = 'public' and exists (
        select from pg_roles as own
        left join pg_auth_members as mem on mem.roleid = own.oid
        where own.rolname = 'bakehouse_owner' and ours.owner in (own.oid, mem.member)
      )
    )
    and not exists (
      select from pg_depend as dep
      where dep.objid = ours.oid and dep.deptype = 'e' and dep.classid = case
        when ours.kind = 'function' then 'pg_proc'::regclass else 'pg_class'::regclass
      end
    )
  ),
  offences as (
    select format('%s may %s %s', api.name, lower(acl.privilege_type), scoped.name) as offence
    from scoped
    cross join aclexplode(scoped.acl) as acl
    inner join (
      select rol.oid, rol.rolname as name from pg_roles as rol
      where rol.rolname in ('anon', 'authenticated', 'service_role')
      union all select 0, 'public'
    ) as api on api.oid = acl.grantee
    where api.name in ('public', 'anon')
    or scoped.nspname = 'private'
    or scoped.kind = 'sequence'
    or scoped.kind <> 'function' and acl.privilege_type <> 'SELECT'
    or scoped.kind = 'function' and scoped.nspname <> 'public' and not exists (
      select from pg_depend as dep -- allowed: a policy calls the function
      where dep.classid = 'pg_policy'::regclass
      and dep.refclassid = 'pg_proc'::regclass and dep.refobjid = scoped.oid
    )
    union all
    select format('%s belongs to %s', scoped.name, scoped.owner::regrole)
    from scoped where scoped.owner <> 'bakehouse_owner'::regrole
    -- These belong to the migration role: see M0_alerts, M0_tasks and M0_foreign_rows.
    and scoped.name not in ('app.sessions()', 'app.schedule_task()', 'app.foreign_rows()')
    -- Where Supabase Realtime exists, app.broadcast belongs to the migration role.
    -- The query reads pg_proc because our owner may not resolve names in schema realtime.
    and not (
      scoped.name = 'app.broadcast(text,jsonb)' and exists (
        select from pg_proc as fun
        inner join pg_namespace as nsp on nsp.oid = fun.pronamespace and nsp.nspname = 'realtime'
        where fun.proname = 'send'
      )
    )
    union all
    select format('%s has no row level security', scoped.name)
    from scoped
    inner join pg_class as rel on rel.oid = scoped.oid and scoped.kind = 'relation'
    where rel.relkind in ('r', 'p') and not rel.relrowsecurity
    union all
    select format('%s reads with the rights of its owner', scoped.name)
    from scoped
    inner join pg_class as rel on rel.oid = scoped.oid and scoped.kind = 'relation'
    where rel.relkind = 'v'
    and not coalesce('security_invoker=true' = any(rel.reloptions), false)
    union all
    select format('%s has another search_path than pg_catalog, pg_temp', scoped.name)
    from scoped
    inner join pg_proc as fun on fun.oid = scoped.oid and scoped.kind = 'function'
    where not coalesce('search_path=pg_catalog, pg_temp' = any(fun.proconfig), false)
  )
  select string_agg(offences.offence, E'\n' order by offences.offence) into v_offences
  from offences;

  if v_offences is not null then
    raise exception E'Some objects break a rule:\n%', v_offences;
  end if;
end;
$$;
comment on function app.assert_grants is
'Checks all rights at the end of a migration. Raises an error that lists every violation.

anon and PUBLIC may do nothing. No API role may write a table, use a sequence or read schema private. Outside schema public, API roles may execute only functions that a policy calls. Every table must have row level security. Every view must read with the rights of its caller. Every function must have the search path pg_catalog, pg_temp. Everything must belong to bakehouse_owner, except app.sessions, app.schedule_task, app.foreign_rows, and app.broadcast where Supabase Realtime exists.';

select app.assert_grants();
commit;
