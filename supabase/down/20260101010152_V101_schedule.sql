begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.get_project_schedule, app.scheduled_rows, public.end_of_work, app.work_hours,
app.end_of_work, app.working_seconds;
commit;
