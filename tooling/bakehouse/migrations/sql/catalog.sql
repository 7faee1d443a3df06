-- Every object that migrations can create, with a hash of its definition, and the definition if $1.
-- A partition is one object, with its columns, indexes, constraints and triggers: the shop may add
-- partitions at any time.
-- Equal objects have equal definitions, also in a copy that was restored from a dump.
-- Skips the objects of Postgres, of extensions, of the platform and of this tool. Skips months too,
-- attached and detached ones, because they come and go without a file.
-- In a union, only the first query names the columns.
-- noqa: disable=AL03,AM06,RF02,RF03
with
members as (
  select
    d.classid,
    d.objid
  from pg_depend as d
  where d.deptype = 'e'
),

relations as (
  select
    c.oid,
    c.relkind,
    c.relpersistence,
    c.relowner,
    c.relacl,
    c.relrowsecurity,
    c.relforcerowsecurity,
    c.reloptions,
    c.reltoastrelid,
    c.relpartbound,
    s.nspname,
    format('%I.%I', s.nspname, c.relname) as label,
    case when c.relispartition then format('%I.%I', s.nspname, c.relname) end as part
  from pg_class as c
  inner join schemas as s on c.relnamespace = s.oid
  where
    c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    and not exists (
      select from members as m
      where m.classid = 'pg_class'::regclass and m.objid = c.oid
    )
    and not exists ( -- a month of a table with a partition for each month
      select from pg_partitioned_table as t
      inner join pg_class as p on t.partrelid = p.oid
      where
        t.partstrat = 'r' and p.relnamespace = c.relnamespace
        and c.relname ~ '_[0-9]{4}_[0-9]{2}$' and p.relname = left(c.relname, -8)
    )
),

-- Only 15 writes the table before each column of a view that reads one table. The pattern finds
-- such a name, or a literal, which must stay. A schema before a name stays too.
prefixes as (
  select
    format(
      '(''(?:[^'']|'''')*'')|(?<![\w."])(?!(?:%s)\.)(?:"(?:[^"]|"")+"|[a-z_][\w$]*)\.(?=[a-z_"])',
      string_agg(regexp_replace(quote_ident(n.nspname), '(\W)', '\\\1', 'g'), '|')
    ) as pattern
  from pg_namespace as n
),

objects as (
  select
    'schema ' || s.nspname as object,
    concat_ws(
      ' ', s.nspowner::regrole,
      array(
        select replace(one::text, quote_ident(current_user), 'migration_role') collate "C"
        from unnest(coalesce(s.nspacl, acldefault('n', s.nspowner))) as one
        order by 1
      )
    ) as definition,
    null as part
  from schemas as s

  union all
  select
    'extension ' || e.extname,
    e.extnamespace::regnamespace::text,
    null
  from pg_extension as e
  where e.extname <> 'uuid-ossp' -- of the platform, where this build of Postgres has it

  union all
  select
    case r.relkind
      when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
      when 'f' then 'foreign table' else 'table'
    end || ' ' || r.label,
    concat_ws(
      ' ', r.relkind, r.relpersistence, r.relowner::regrole, r.relrowsecurity,
      r.relforcerowsecurity, case when r.relkind = 'v' then r.reloptions end,
      array(
        -- Postgres 17 adds the right MAINTAIN to those of the owner, and to all rights
        select
          replace(
            regexp_replace(
              one::text,
              case
                when starts_with(one::text, r.relowner::regrole || '=') then '=([a-zA-Z*]*)m\*?/'
                else '=((?:\w\*?){7})m\*?/'
              end,
              '=\1/'
            ),
            quote_ident(current_user), 'migration_role'
          ) collate "C"
        from
          unnest(coalesce(
            r.relacl,
            case
              when r.relkind = 'S' then acldefault('s', r.relowner) else acldefault('r', r.relowner)
            end
          )) as one
        where not starts_with(one::text, r.relowner::regrole || '=m/')
        order by 1
      ),
      case when r.relkind = 'p' then pg_get_partkeydef(r.oid) end,
      pg_get_expr(r.relpartbound, r.oid),
      case
        when r.relkind in ('v', 'm')
          then regexp_replace(pg_get_viewdef(r.oid, true), p.pattern, '\1', 'g')
      end
    ),
    r.part
  from relations as r
  cross join prefixes as p

  union all
  select
    'options of table ' || r.label,
    concat_ws(' toast ', r.reloptions, t.reloptions),
    null
  from relations as r
  left join pg_class as t on r.reltoastrelid = t.oid
  where r.relkind <> 'v' and (r.reloptions is not null or t.reloptions is not null)

  union all
  select
    format('statistics %I.%I', s.nspname, e.stxname),
    concat_ws(' ', e.stxowner::regrole, pg_get_statisticsobjdef(e.oid)),
    null
  from pg_statistic_ext as e
  inner join schemas as s on e.stxnamespace = s.oid

  union all
  select
    format('column %s.%I', r.label, a.attname),
    concat_ws(
      ' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
      nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
      pg_get_expr(d.adbin, d.adrelid, true), nullif(a.attcollation, 0)::regcollation,
      case
        when a.attacl is not null
          then
            array(
              select replace(one::text, quote_ident(current_user), 'migration_role') collate "C"
              from unnest(a.attacl) as one
              order by 1
            )
      end
    ),
    r.part
  from relations as r
  inner join pg_attribute as a on r.oid = a.attrelid
  left join pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
  where r.relkind <> 'S' and a.attnum > 0 and not a.attisdropped

  union all
  select
    format('index %I.%I', r.nspname, c.relname),
    concat_ws(
      ' ',
      -- the constraint of the same name has the columns
      case
        when k.oid is null then pg_get_indexdef(i.indexrelid, 0, true) else c.reloptions::text
      end,
      case when not i.indisvalid then 'invalid' end
    ),
    case when c.relispartition then r.part end -- an index of one partition alone is made by hand
  from relations as r
  inner join pg_index as i on r.oid = i.indrelid
  inner join pg_class as c on i.indexrelid = c.oid
  left join pg_constraint as k on i.indexrelid = k.conindid and k.contype in ('p', 'u', 'x')

  union all
  select
    format('constraint %I on %s', k.conname, r.label),
    concat_ws(
      ' ',
      regexp_replace(
        pg_get_constraintdef(k.oid, true), '::(text|character varying)(\[])?', '', 'g'
      ),
      case when not k.convalidated then 'not valid' end
    ),
    r.part
  from relations as r
  inner join pg_constraint as k on r.oid = k.conrelid
  where
    k.contype <> 'n' -- only Postgres 18 lists not-null; columns show it instead
    -- each major names the keys of partitions in its own way; the key of the whole table is listed
    and not (k.contype = 'f' and k.conparentid <> 0)

  union all
  select
    format('trigger %I on %s', t.tgname, r.label),
    concat(pg_get_triggerdef(t.oid, true), t.tgenabled),
    r.part
  from relations as r
  inner join pg_trigger as t on r.oid = t.tgrelid
  where not t.tgisinternal

  union all
  select
    format('policy %I on %s', p.polname, r.label),
    concat_ws(
      ' ', p.polcmd, p.polpermissive,
      -- sorted, because a dump names them in the order in which the server made them
      (
        select string_agg(u.role::regrole::text, ',' order by u.role::regrole::text)
        from unnest(p.polroles) as u (role)
      ),
      pg_get_expr(p.polqual, p.polrelid, true),
      pg_get_expr(p.polwithcheck, p.polrelid, true)
    ),
    r.part
  from relations as r
  inner join pg_policy as p on r.oid = p.polrelid

  union all
  select
    format('function %I.%I(%s)', s.nspname, f.proname, pg_get_function_identity_arguments(f.oid)),
    concat_ws(
      ' ', f.proowner::regrole,
      array(
        select replace(one::text, quote_ident(current_user), 'migration_role') collate "C"
        from unnest(coalesce(f.proacl, acldefault('f', f.proowner))) as one
        order by 1
      ),
      case when f.prokind = 'a' then 'aggregate' else pg_get_functiondef(f.oid) end
    ),
    null
  from pg_proc as f
  inner join schemas as s on f.pronamespace = s.oid
  where
    not exists (
      select from members as m
      where m.classid = 'pg_proc'::regclass and m.objid = f.oid
    )

  union all
  select
    format('type %I.%I', s.nspname, t.typname),
    concat_ws(
      ' ', t.typowner::regrole,
      array(
        select replace(one::text, quote_ident(current_user), 'migration_role') collate "C"
        from unnest(coalesce(t.typacl, acldefault('T', t.typowner))) as one
        order by 1
      ),
      format_type(nullif(t.typbasetype, 0), t.typtypmod),
      pg_get_expr(t.typdefaultbin, 0), case when t.typnotnull then 'not null' end,
      (
        select string_agg(e.enumlabel, ', ' order by e.enumsortorder)
        from pg_enum as e
        where e.enumtypid = t.oid
      ),
      (
        select
          string_agg(
            regexp_replace(
              pg_get_constraintdef(k.oid, true), '::(text|character varying)(\[])?', '', 'g'
            ),
            ' ' order by k.conname
          )
        from pg_constraint as k
        where k.contypid = t.oid and k.contype = 'c' -- only 17 and later list not-null
      )
    ),
    null
  from pg_type as t
  inner join schemas as s on t.typnamespace = s.oid
  left join pg_class as c on t.typrelid = c.oid
  where
    (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')
    and not exists (
      select from members as m
      where m.classid = 'pg_type'::regclass and m.objid = t.oid
    )
),

named as (
  select
    o.object,
    o.definition
  from objects as o
  where o.part is null
  union all
  select
    'partition ' || o.part,
    string_agg(o.object || ': ' || o.definition, E'\n' order by o.object collate "C")
  from objects as o
  where o.part is not null
  group by o.part
),

-- the name of the migration role differs between environments
alike as (
  select
    n.object,
    replace(n.definition, quote_ident(current_user), 'migration_role') as definition
  from named as n
)

select
  a.object as name,
  md5(a.definition) as hash,
  case when $1 then a.definition end as definition
from alike as a
