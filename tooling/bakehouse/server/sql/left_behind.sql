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
    rel.relname as relation,
    col.attname as column_name,
    seq.relname as sequence
  from pg_depend as dep
  inner join pg_class as seq on dep.objid = seq.oid and seq.relkind = 'S'
  inner join pg_class as rel on dep.refobjid = rel.oid
  inner join pg_namespace as nsp on rel.relnamespace = nsp.oid
  inner join pg_attribute as col on rel.oid = col.attrelid and dep.refobjsubid = col.attnum
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
    'select setval(%L, max(%I)) from %I.%I', format('%I.%I', one.schema, one.sequence),
    one.column_name, one.schema, one.relation
  ) as repair
from numbered as one
where
  query_to_xml( -- a query on a table whose name is data
    format(
      'select from %1$I.%2$I'
      ' having max(%3$I) > (select last_value - (not is_called)::int from %1$I.%4$I)',
      one.schema, one.relation, one.column_name, one.sequence
    ), false, false, ''
  )::text like '%<row%'
order by 1
