-- Takes away what the migration of this name creates.

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

drop function if exists app.tick, app.refresh_priorities;
drop table if exists app.schedule;

commit;
