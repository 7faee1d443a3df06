-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_project_schedule(uuid, text), public.end_of_work(timestamptz, numeric, boolean),
app.work_hours(timestamptz, timestamptz, boolean),
app.end_of_work(timestamptz, numeric, boolean), app.working_seconds(timestamptz);

commit;
