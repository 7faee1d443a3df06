-- What an upgrade of Postgres leaves behind in this database, with the statement that repairs it.
with unknown as ( -- tables of which the planner knows nothing
  select format('%I.%I', n.nspname, c.relname) as label
  from pg_class as c
  inner join pg_namespace as n on c.relnamespace = n.oid
  where
    c.relkind = 'r'
    and n.nspname in ('public', 'app', 'private')
    and pg_relation_size(c.oid) > 0
    and pg_stat_get_last_analyze_time(c.oid) is null
    and pg_stat_get_last_autoanalyze_time(c.oid) is null
    and not exists (
      select from pg_stats as s
      where s.schemaname = n.nspname and s.tablename = c.relname
    )
),

numbered as ( -- the columns that a sequence numbers: such a sequence is in the schema of its table
  select
    nsp.nspname as schema,
    seq.relname as sequence,
    case
      when rel.oid = to_regclass('public.work_queue') -- its jobs leave with their id
        then
          '(select id from public.work_queue union all select id from public.work_dead'
          ' union all select id from public.work_archive) as jobs'
      else format('%I.%I', nsp.nspname, rel.relname)
    end as source,
    -- A row of another cell says nothing about the sequence. The role may lack the right to call a
    -- function of ours.
    format(
      case
        when pg_get_expr(def.adbin, def.adrelid) like '%app.first_id()%'
          then
            'max(%1$I & ((1::bigint << 43) - 1))'
            ' filter (where %1$I >> 43 = (select number from app.cell))'
        else 'max(%1$I)'
      end, col.attname
    ) as used
  from pg_depend as dep
  inner join pg_class as seq on dep.objid = seq.oid and seq.relkind = 'S'
  inner join pg_class as rel on dep.refobjid = rel.oid
  inner join pg_namespace as nsp on rel.relnamespace = nsp.oid
  inner join pg_attribute as col on rel.oid = col.attrelid and dep.refobjsubid = col.attnum
  left join pg_attrdef as def on col.attrelid = def.adrelid and col.attnum = def.adnum
  where
    dep.classid = 'pg_class'::regclass
    and dep.refclassid = 'pg_class'::regclass
    and dep.deptype in ('a', 'i')
    and nsp.nspname in ('public', 'app', 'private', 'bakehouse')
)

select
  'statistics' as subject,
  format('are missing for %s tables', count(*)) as fault,
  'analyze' as repair
from unknown
having count(*) > 0

union all
select
  format('extension %s', e.extname) as subject,
  format('is version %s, and the server has %s', e.extversion, a.default_version) as fault,
  format('alter extension %I update', e.extname) as repair
from pg_extension as e
inner join pg_available_extensions as a on e.extname = a.name
where e.extversion <> a.default_version

union all
-- logical replication copies the column and not its sequence
select
  format('sequence %s.%s', one.schema, one.sequence) as subject,
  'is behind its table' as fault,
  format(
    'select setval(%L, %s) from %s', format('%I.%I', one.schema, one.sequence), one.used, one.source
  ) as repair
from numbered as one
where
  query_to_xml( -- a query on a table whose name is data
    format(
      'select from %s having %s > (select last_value - (not is_called)::int from %I.%I)',
      one.source, one.used, one.schema, one.sequence
    ), false, false, ''
  )::text like '%<row%'
order by 1
