select
  string_agg(
    format(
      'pid %s, user %s, %s for %s s: %s', a.pid, a.usename, a.state,
      extract(epoch from clock_timestamp() - a.xact_start)::int,
      left(regexp_replace(a.query, '\s+', ' ', 'g'), 80)
    ), '; '
  )
from pg_stat_activity as a
where a.pid = any(pg_blocking_pids($1))
