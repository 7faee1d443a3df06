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
