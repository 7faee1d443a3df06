begin;
set local lock_timeout = '5s';
do $$
begin
  if to_regnamespace('cron') is not null then
    perform cron.unschedule(job.jobid) from cron.job as job
    where job.jobname = 'bakehouse tick' and job.username = current_user;
  end if;
end;
$$;
set local role bakehouse_owner;
drop function if exists
app.tick, app.order_changed, app.call_registered, app.register_hook, app.register_task,
app.check_registered;
drop table if exists app.hooks, app.task_runs, app.tasks;
commit;
