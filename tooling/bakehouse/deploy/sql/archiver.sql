-- What WAL archiving says: the time of the last file, or why no file is kept.
with state as (
  select
    a.last_archived_time,
    a.last_archived_wal,
    case
      when current_setting('archive_mode') = 'off' then 'archive_mode is off'
      when
        current_setting('archive_command') ~ '^\s*((/\S*/)?true|:|exit 0)?\s*$'
        and coalesce(current_setting('archive_library', true), '') = ''
        then 'archive_command keeps nothing'
      when a.last_archived_time is null then 'no WAL has been archived'
      when a.last_failed_time > a.last_archived_time
        then
          'archiving ' || a.last_failed_wal || ' failed, last at '
          || to_char(a.last_failed_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
      else ''
    end as problem
  from pg_stat_archiver as a
)

select
  'pg_stat_archiver' as source,
  s.problem,
  case when s.problem = '' then s.last_archived_time end as taken_at,
  coalesce('WAL up to ' || s.last_archived_wal, '') as detail
from state as s
