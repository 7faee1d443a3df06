-- M0 tasks: the scheduled tasks. Each task runs, fails and waits by itself.
--
-- `bakehouse tick`, `bakehouse work` or pg_cron asks app.due_tasks for names, and passes each to
-- app.run_task. Each file registers its own tasks, so no file names a function of a later file.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.tasks (
  name text primary key,
  period text not null check (period in ('tick', 'day')),
  function text not null
);
alter table app.tasks enable row level security;
comment on table app.tasks is 'The scheduled tasks. Each file registers its own tasks.';
comment on column app.tasks.period is
'tick: runs every minute. day: runs once per store and day, with the store as argument.';
comment on column app.tasks.function is
'The name of a function in schema app. Text, because a reg* column would stop pg_upgrade.';

create table if not exists app.task_runs (
  name text primary key, -- not a generated column: Postgres 18 cannot publish one in a key
  task text not null references app.tasks (name) on delete cascade,
  store text references public.stores (code) on delete cascade,
  created_at timestamptz not null default app.now(),
  started_at timestamptz,
  succeeded_at timestamptz,
  day date,
  duration interval,
  result bigint,
  failures integer not null default 0,
  failed_at timestamptz,
  last_error app.note,
  constraint task_runs_name_check check (name = task || coalesce(' ' || store, ''))
);
create index if not exists task_runs_task_idx on app.task_runs (task);
create index if not exists task_runs_store_idx on app.task_runs (store);
alter table app.task_runs enable row level security;
comment on table app.task_runs is
'One row per task that runs every minute, and one per daily task and store. A run locks its row. No API role can lock a row.';
comment on column app.task_runs.name is
'The task, and the store of a daily task: refresh_priorities bannos.';
comment on column app.task_runs.store is 'Null: the task runs every minute, for all stores.';
comment on column app.task_runs.day is
'The day of the last success of a daily task, in the time zone of the store.';
comment on column app.task_runs.duration is 'The duration of the last run.';
comment on column app.task_runs.result is 'The number that the last success returned.';
comment on column app.task_runs.failures is 'The number of failed runs since the last success.';

create or replace function app.register_task(p_name text, p_period text, p_function text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select app.check_registered(p_function);
  insert into app.tasks (name, period, function) values (p_name, p_period, p_function)
  on conflict (name) do update set period = excluded.period, function = excluded.function;
  delete from app.task_runs as runs
  where runs.task = p_name and (runs.store is null) <> (p_period = 'tick');
  insert into app.task_runs (name, task, store)
  select p_name, p_name, null where p_period = 'tick'
  union all
  select p_name || ' ' || stores.code, p_name, stores.code
  from public.stores as stores where p_period = 'day'
  on conflict (name) do nothing;
$$;
comment on function app.register_task is
'Registers a function of schema app as a scheduled task. Raises an error if there is no such function.

A daily task must take the store. Every task must return a number.';

create or replace function app.add_task_runs()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  insert into app.task_runs (name, task, store)
  select tasks.name || ' ' || new.code, tasks.name, new.code
  from app.tasks as tasks where tasks.period = 'day'
  on conflict (name) do nothing;
  return new;
end;
$$;
comment on function app.add_task_runs is 'Trigger: adds the daily tasks of a new store.';

create or replace function app.due_tasks(p_task text default null)
returns setof text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select runs.name
  from app.task_runs as runs
  inner join app.tasks as tasks on tasks.name = runs.task
  where (p_task is null or runs.task = p_task)
  and case tasks.period
    when 'day' then runs.day is distinct from app.today(runs.store)
    -- A little less than a minute, because a scheduler is not exact. A start in the future is no
    -- recent start: the clock was wrong then.
    else runs.started_at is null
    or runs.started_at not between app.now() - interval '50 seconds'
    and app.now() + interval '50 seconds'
  end
  order by tasks.period, runs.store, runs.name;
$$;
comment on function app.due_tasks is
'Returns the names of the tasks that are due, for app.run_task. p_task limits the names to one task.

A task that runs every minute is due a minute after its last start. A daily task is due until it has succeeded on the current day of the store.';

create or replace function app.run_task(p_name text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- a locked row delays this task alone, and only until its next run
as $$
declare
  v_began timestamptz := clock_timestamp();
  v_run record;
  v_result bigint;
  v_error text;
begin
  select runs.store, tasks.function into v_run
  from app.task_runs as runs
  inner join app.tasks as tasks on tasks.name = runs.task
  where runs.name = p_name
  for no key update of runs skip locked;
  if not found then
    if not exists (select from app.task_runs as runs where runs.name = p_name) then
      perform app.not_found('task', 'name', p_name);
    end if;
    return jsonb_build_object('task', p_name, 'state', 'busy');
  end if;
  if p_name not in (select due.name from app.due_tasks() as due (name)) then
    return jsonb_build_object('task', p_name, 'state', 'not_due');
  end if;
  begin
    v_result := app.call_registered(v_run.function, v_run.store);
  exception
    when query_canceled or others then -- others leaves out query_canceled, of a timeout
      v_error := left(sqlerrm, 200);
  end;
  update app.task_runs as runs
  set
    started_at = app.now(), duration = clock_timestamp() - v_began,
    succeeded_at = case when v_error is null then app.now() else runs.succeeded_at end,
    day = case
      when v_error is null and runs.store is not null then app.today(runs.store) else runs.day
    end,
    result = case when v_error is null then v_result else runs.result end,
    failures = case when v_error is null then 0 else runs.failures + 1 end,
    failed_at = case when v_error is null then runs.failed_at else app.now() end,
    last_error = coalesce(v_error, runs.last_error)
  where runs.name = p_name;
  return jsonb_build_object(
    'task', p_name, 'state', case when v_error is null then 'done' else 'failed' end,
    'result', v_result, 'error', v_error
  );
end;
$$;
comment on function app.run_task is
'Runs one task, if it is due and no other session runs it. Returns {task, state, result, error}. state is done, failed, busy or not_due.

An error of the task is rolled back, recorded in app.task_runs and returned, so that the caller can go on with other tasks. Call each task in its own transaction, and set statement_timeout before the call. Raises NOT_FOUND for an unknown name.';

create or replace function app.task_alerts()
returns setof app.alert
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  with runs as (
    select
      runs.name, runs.store, runs.last_error, runs.failures,
      coalesce(runs.started_at, runs.created_at) as started_at,
      coalesce(runs.succeeded_at, runs.created_at) as succeeded_at,
      app.now() - 3 * case tasks.period when 'tick' then interval '1 minute' else '1 day' end
      as from_ts,
      app.now() + interval '1 minute' as to_ts -- a later time is from a clock that was wrong
    from app.task_runs as runs
    inner join app.tasks as tasks on tasks.name = runs.task
  ),
  clock as (
    select
      max(runs.started_at) as ticked_at,
      bool_and(runs.started_at not between runs.from_ts and runs.to_ts) as stopped
    from runs where runs.store is null
  )
  select
    'critical', 'TICK_STOPPED', clock.ticked_at, null,
    'No scheduled task has run for three minutes.',
    'Start `bakehouse work`, or run `bakehouse tick` every minute, or repair pg_cron.'
  from clock where clock.stopped
  union all
  select
    'warning', 'TASK_OVERDUE', runs.succeeded_at, runs.store,
    format('Task %s has not succeeded for three periods.', runs.name)
    || case when runs.failures > 0 then ' Its last error: ' || runs.last_error else '' end,
    'Remove the cause of the error. The task then runs within a minute.'
  from runs
  where runs.failures >= 3
  or runs.succeeded_at not between runs.from_ts and runs.to_ts
  and not (select clock.stopped from clock)
  union all
  select
    'warning', 'TASK_HELD', sessions.since, runs.store,
    format(
      'Process %s (%s) has held the run of task %s for %s.', sessions.pid, sessions.name, runs.name,
      date_trunc('second', app.now() - sessions.since)
    ),
    format(
      'Wait, if the task is at work there. Otherwise: select pg_terminate_backend(%s).', sessions.pid
    )
  from app.task_runs as runs
  inner join pg_locks as locks
    on locks.locktype = 'transactionid' and locks.granted and locks.transactionid = runs.xmax
  inner join app.sessions() as sessions on sessions.pid = locks.pid
  where sessions.since < app.now() - interval '1 minute';
$$;
comment on function app.task_alerts is
'Alerts: TICK_STOPPED, TASK_OVERDUE (no success for three periods, or three failures), TASK_HELD (a session has held the run of a task for over a minute).';

create or replace function public.get_tick_status(p_store text default null)
returns table (
  task text, store text, last_success timestamptz, duration interval, last_error text,
  last_error_at timestamptz, failures integer
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor', p_store);
begin
  return query
  select
    runs.task, runs.store, runs.succeeded_at, runs.duration, runs.last_error::text, runs.failed_at,
    runs.failures
  from app.task_runs as runs
  where runs.store is null or runs.store = any(v_caller.stores)
  order by runs.task, runs.store;
end;
$$;
comment on function public.get_tick_status is
'Returns the scheduled tasks, with the last success and the last error of each. A daily task has a row per store.

duration is that of the last run. failures is the number of failed runs since the last success. p_store leaves out the daily tasks of other stores.

Role: Supervisor. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_tick_status to authenticated;

create or replace trigger stores_add_task_runs after insert on public.stores
for each row execute function app.add_task_runs();

select app.register_hook('alerts', 20, 'task_alerts');

reset role;

-- A job of pg_cron runs as the role that scheduled it. Our owner cannot log in, so the function
-- that schedules belongs to the migration role. Scheduling the same name again replaces the job.
do $$
begin
  if to_regnamespace('cron') is not null then
    perform cron.unschedule(job.jobid) from cron.job as job
    where job.jobname = 'bakehouse tick' and job.username = current_user;

    create or replace function app.schedule_task()
    returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $body$
    begin
      if tg_op = 'DELETE' then
        perform cron.unschedule(job.jobid) from cron.job as job
        where job.jobname = 'bakehouse ' || old.name and job.username = current_user;
        return old;
      end if;
      perform cron.schedule(
        'bakehouse ' || new.name, '* * * * *',
        'set statement_timeout = ''5min''; '
        || format('select app.run_task(due.name) from app.due_tasks(%L) as due (name)', new.name)
      );
      return new;
    end;
    $body$;
    comment on function app.schedule_task() is
    'Trigger: gives each task a job of pg_cron, which runs the task every minute if it is due.';
    revoke all on function app.schedule_task() from public, anon, authenticated, service_role;
    grant execute on function app.schedule_task() to bakehouse_owner;
    set local role bakehouse_owner;
    create or replace trigger tasks_schedule after insert or update or delete on app.tasks
    for each row execute function app.schedule_task();
  end if;
end;
$$;

set local role bakehouse_owner;
select app.register_task('purge_audit', 'tick', 'purge_audit');

select app.assert_grants();
commit;
