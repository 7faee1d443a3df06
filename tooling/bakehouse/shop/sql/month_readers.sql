-- The sessions that a detach from the table $1 waits for: they read, or hold a snapshot.
select
  string_agg(
    format(
      'pid %s (%s, for %s s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename),
      extract(epoch from clock_timestamp() - a.xact_start)::int
    ), ', ' order by a.xact_start
  )
from pg_stat_activity as a
where
  a.datname = current_database() and a.pid <> pg_backend_pid()
  and a.backend_type is distinct from 'autovacuum worker'
  and coalesce(a.xact_start < clock_timestamp() - interval '1 second', true)
  and (
    a.backend_xmin is not null
    or exists (
      select from pg_locks as l
      where
        l.pid = a.pid and l.granted and l.locktype = 'relation'
        and l.relation = format('public.%I', $1::text)::regclass
    )
  )
