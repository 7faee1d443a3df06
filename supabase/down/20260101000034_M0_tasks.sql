begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin
  if to_regclass('app.tasks') is not null then
    delete from app.tasks as tasks where true; -- ends their jobs of pg_cron
  end if;
  if to_regclass('app.hooks') is not null then
    delete from app.hooks as hooks where hooks.function = 'task_alerts';
  end if;
end $$;
drop trigger if exists stores_add_task_runs on public.stores;
drop function if exists
public.get_tick_status, app.task_alerts, app.run_task, app.due_tasks, app.add_task_runs,
app.register_task;
drop table if exists app.task_runs, app.tasks;
reset role;
drop function if exists app.schedule_task;
commit;
