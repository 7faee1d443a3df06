insert into bakehouse.accepted_drift (object, hash, reason, until)
values ($1, $2, $3, $4)
on conflict (object) do update
  set
    hash = excluded.hash, reason = excluded.reason, until = excluded.until,
    accepted_by = excluded.accepted_by, accepted_at = excluded.accepted_at
returning object
