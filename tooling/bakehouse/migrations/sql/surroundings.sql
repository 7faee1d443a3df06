-- What the files rely on and do not make, as catalog.sql. Only the roles of the API, of the owner
-- and of the migrations ($2) count: other roles belong to other databases of the server.
-- In a union, only the first query names the columns.
-- noqa: disable=AL03,AM06,RF02,RF03
with
roles as (
  select
    r.*,
    case when r.rolname = coalesce($2, current_user) then 'migration_role' else r.rolname end
      as label
  from pg_roles as r
  where
    r.rolname in (
      'bakehouse_owner', 'anon', 'authenticated', 'service_role', 'authenticator',
      coalesce($2, current_user)
    )
),

objects as (
  select
    'role ' || r.label as object,
    concat_ws(
      ' ', case when r.rolsuper then 'superuser' end, case when r.rolinherit then 'inherit' end,
      case when r.rolcreaterole then 'createrole' end, case when r.rolcreatedb then 'createdb' end,
      case when r.rolcanlogin then 'login' end, case when r.rolreplication then 'replication' end,
      case when r.rolbypassrls then 'bypassrls' end, 'connection limit ' || r.rolconnlimit,
      'valid until ' || r.rolvaliduntil
    ) as definition
  from roles as r

  union all
  -- one row for both, because a role may be a member through several grants
  select
    format('membership of %s in %s', coalesce(m.label, a.member::regrole::text), r.label),
    concat_ws(
      ' ', 'member', case when bool_or(a.admin_option) then 'with admin option' end,
      case when pg_has_role(a.member, r.oid, 'usage') then 'inherits' end
    )
  from pg_auth_members as a
  inner join roles as r on a.roleid = r.oid
  left join roles as m on a.member = m.oid
  group by a.member, m.label, r.oid, r.label

  union all
  select
    format('membership of %s in %s', m.label, a.roleid::regrole),
    concat_ws(
      ' ', 'member', case when bool_or(a.admin_option) then 'with admin option' end,
      case when pg_has_role(m.oid, a.roleid, 'usage') then 'inherits' end
    )
  from pg_auth_members as a
  inner join roles as m on a.member = m.oid
  where a.roleid not in (select r.oid from roles as r)
  group by a.roleid, m.oid, m.label

  union all
  select
    'setting of role ' || coalesce(r.label, 'all'),
    string_agg(
      case when s.setdatabase = 0 then '' else 'in this database: ' end || one.setting, E'\n'
      order by s.setdatabase, one.setting collate "C"
    )
  from pg_db_role_setting as s
  left join roles as r on s.setrole = r.oid
  cross join unnest(s.setconfig) as one (setting)
  where
    (s.setrole = 0 or r.oid is not null)
    and (
      s.setdatabase = 0
      or s.setdatabase = (
        select d.oid from pg_database as d
        where d.datname = current_database()
      )
    )
  group by coalesce(r.label, 'all')

  union all
  select
    format(
      'default privileges of %s for %s%s', r.label,
      case d.defaclobjtype
        when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
        when 'T' then 'types' when 'n' then 'schemas' else d.defaclobjtype::text
      end,
      ' in schema ' || n.nspname
    ),
    array(
      select
        replace(
          -- Postgres 17 adds the right MAINTAIN to all rights
          regexp_replace(one::text, '=((?:\w\*?){7})m\*?/', '=\1/'),
          quote_ident(coalesce($2, current_user)), 'migration_role'
        ) collate "C"
      from unnest(d.defaclacl) as one
      order by 1
    )::text
  from pg_default_acl as d
  inner join roles as r on d.defaclrole = r.oid
  left join pg_namespace as n on d.defaclnamespace = n.oid

  union all
  select
    'event trigger ' || quote_ident(e.evtname),
    concat_ws(' ', e.evtevent, e.evtenabled, e.evttags, e.evtfoid::regprocedure)
  from pg_event_trigger as e

  union all
  select
    'publication ' || quote_ident(p.pubname),
    concat_ws(
      ' ', case when p.puballtables then 'for all tables' end,
      case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
      case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end,
      case when p.pubviaroot then 'via root' end,
      array(
        select
          concat_ws(
            ' ', t.prrelid::regclass, t.prattrs, pg_get_expr(t.prqual, t.prrelid)
          ) collate "C"
        from pg_publication_rel as t
        where t.prpubid = p.oid
        order by 1
      ),
      array(
        select (t.pnnspid::regnamespace)::text collate "C"
        from pg_publication_namespace as t
        where t.pnpubid = p.oid
        order by 1
      )
    )
  from pg_publication as p

  union all
  select
    format('guard %I of the history', t.tgname),
    concat(pg_get_triggerdef(t.oid), ' ', t.tgenabled, E'\n', pg_get_functiondef(t.tgfoid))
  from pg_trigger as t
  inner join pg_class as c on t.tgrelid = c.oid
  where
    c.relnamespace = to_regnamespace('supabase_migrations')
    and not t.tgisinternal
)

select
  o.object as name,
  md5(o.definition) as hash,
  case when $1 then o.definition end as definition
from objects as o
