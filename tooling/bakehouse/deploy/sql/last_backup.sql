-- The newest backup on record, and when a drill last restored this backup.
select
  b.file,
  b.facts,
  (
    select max(e.body ->> 'at')
    from bakehouse.evidence as e
    where
      e.body ->> 'kind' = 'drill' and e.body ->> 'outcome' = 'done'
      and e.body ->> 'file' = b.file and e.body ->> 'sha256' = b.facts ->> 'sha256'
  ) as drilled_at
from bakehouse.backups as b
order by b.number desc
limit 1
