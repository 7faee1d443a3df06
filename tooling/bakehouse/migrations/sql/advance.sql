-- Move the baseline: $1 is the new chain head, $2 is gone, $3 is new or changed.
-- What is accepted and now in the baseline needs no acceptance any more.
with
moved as (
  update bakehouse.baseline as b
  set chain_head = $1, objects = (b.objects - $2::text[]) || $3, moved_at = clock_timestamp()
  where b.only_row
  returning b.objects
)

delete from bakehouse.accepted_drift as a
using moved as m
where m.objects ->> a.object is not distinct from a.hash
returning a.object
