select
  a.last_archived_time as archived_at,
  a.last_failed_time as failed_at,
  a.last_archived_wal as wal,
  a.last_failed_wal as failed_wal,
  current_setting('archive_mode') <> 'off' as enabled,
  current_setting('archive_command') ~ '^\s*((/\S*/)?true|:|exit 0)?\s*$'
  and coalesce(current_setting('archive_library', true), '') = '' as idle
from pg_stat_archiver as a
