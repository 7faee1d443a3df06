-- Pause for $1 minutes with the reason $2. A longer pause by a person stays as it is.
select app.pause_ingest(app.now() + make_interval(mins => $1::int), $2)
where not exists (
  select from app.ingest_pause as pause
  where coalesce(pause.until > app.now() + make_interval(mins => $1::int), true)
)
