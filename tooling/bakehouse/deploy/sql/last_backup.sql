-- The newest backup on record, and when a drill last restored this backup.
select
  b.file,
  b.objects,
  f.taken_at,
  f.bytes,
  f.sha256,
  f.server,
  f.role,
  f.chain_head,
  f.rows,
  f.duration_ms,
  (
    select max(e.body ->> 'at')
    from bakehouse.evidence as e
    where
      e.body ->> 'kind' = 'drill' and e.body ->> 'outcome' = 'done'
      and e.body ->> 'file' = b.file and e.body ->> 'sha256' = f.sha256
  ) as drilled_at
from bakehouse.backups as b
cross join
  jsonb_to_record(b.facts)
    as f (
      taken_at text, bytes bigint, sha256 text, server int, role text, chain_head text,
      rows jsonb, duration_ms int
    )
order by b.number desc
limit 1
