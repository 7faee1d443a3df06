-- The alerts, as checks of `bakehouse doctor`.
select
  'note' as state,
  'alert ' || a.code as name,
  format(
    '%s since %s%s: %s %s', a.severity, to_char(a.since, 'YYYY-MM-DD HH24:MI'),
    ' in ' || a.store, a.problem, a.remedy
  ) as detail
from app.alerts() as a
order by a.since, a.code, a.store
