-- The invariants that do not hold, as checks of `bakehouse doctor`.
select
  'bad' as state,
  'invariant ' || a.name as name,
  format('%s violations%s, such as: %s', a.violations, ' in store ' || a.store, a.example) as detail
from app.audit_all() as a
