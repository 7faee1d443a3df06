select coalesce(to_char(pause.until, 'YYYY-MM-DD HH24:MI TZ'), 'somebody resumes them')
from app.ingest_pause as pause
where coalesce(pause.until > app.now(), true)
