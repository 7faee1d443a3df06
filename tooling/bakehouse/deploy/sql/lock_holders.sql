-- Transactions older than $2 seconds that hold locks on the tables $1.
select
  format(
    'pid %s (%s) has held %s for %s s', a.pid, a.usename,
    string_agg(distinct l.relation::regclass::text, ', '),
    coalesce(extract(epoch from clock_timestamp() - a.xact_start)::int::text, 'some')
  )
from pg_locks as l
inner join pg_stat_activity as a on l.pid = a.pid
where
  l.locktype = 'relation' and l.pid <> pg_backend_pid()
  and l.database = (
    select d.oid from pg_database as d
    where d.datname = current_database()
  )
  and l.relation in (select to_regclass(locked.name) from unnest($1::text[]) as locked (name))
  and coalesce(a.xact_start < clock_timestamp() - make_interval(secs => $2), true)
group by a.pid, a.usename, a.xact_start
