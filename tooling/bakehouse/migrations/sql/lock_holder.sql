-- The session that holds the advisory lock $1 in this database.
select
  format(
    'pid %s (%s, since %s)', a.pid, a.application_name, to_char(a.backend_start, 'HH24:MI:SS')
  )
from pg_locks as l
inner join pg_stat_activity as a on l.pid = a.pid
where
  l.locktype = 'advisory'
  and l.granted
  and (l.classid::bigint << 32) + l.objid::bigint = $1
  and l.database = (
    select d.oid from pg_database as d
    where d.datname = current_database()
  )
