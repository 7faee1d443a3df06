-- The tables that this transaction changed or dropped, found by their locks.
select distinct l.relation::bigint
from pg_locks as l
where
  l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation >= 16384
  and l.mode not in ('AccessShareLock', 'RowShareLock')
