-- The strongest lock on each table. Leaves out weak locks, which block neither reads nor writes.
select distinct on (l.relation)
  l.relation::bigint as oid,
  l.mode
from pg_locks as l
inner join
  unnest(array['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock'])
  with ordinality as strength (mode, rank)
  on l.mode = strength.mode
where
  l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted
  and l.relation = any($1::oid[])
order by l.relation, strength.rank
