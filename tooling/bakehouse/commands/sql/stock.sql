-- The orders that took other stock than they are due, as a check of `bakehouse doctor`.
select
  'note' as state,
  'stock' as name,
  format('%s differences, such as: %s', count(*), min(a.what)) as detail
from app.stock_audit() as a
having count(*) > 0
