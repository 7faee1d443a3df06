-- Whether the session $1 holds a lock that stops readers, or waits for one: they queue behind it.
-- Leaves out relations that the session has created, because no other session can see them yet.
select count(*) > 0
from pg_locks as l
inner join pg_class as c on l.relation = c.oid
where
  l.pid = $1 and l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
  and l.database = (
    select d.oid from pg_database as d
    where d.datname = current_database()
  )
