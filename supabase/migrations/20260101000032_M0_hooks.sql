-- M0 hooks: a table of scheduled tasks, and a table of functions that a change calls.
--
-- Each file registers its own tasks and listeners, so no file names a function of a later file.
-- For example, M2 changes the stock of M3 only through app.hooks.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.tasks (
  name text primary key,
  period text not null check (period in ('tick', 'day')),
  function text not null
);
alter table app.tasks enable row level security;
comment on table app.tasks is 'The tasks that app.tick runs. Each file registers its own tasks.';
comment on column app.tasks.period is
'tick: runs at every call of app.tick. day: runs once per store and day, with the store as argument.';
comment on column app.tasks.function is
'The name of a function in schema app. Text, because a reg* column would stop pg_upgrade.';

create table if not exists app.task_runs (
  task text not null references app.tasks (name) on delete cascade,
  store text not null references public.stores (code),
  day date not null,
  ran_at timestamptz not null,
  primary key (task, store)
);
create index if not exists task_runs_store_idx on app.task_runs (store);
alter table app.task_runs enable row level security;
comment on table app.task_runs is 'When each daily task last ran for each store.';
comment on column app.task_runs.day is 'The day of the run, in the time zone of the store.';

create table if not exists app.hooks (
  event text not null,
  position integer not null,
  function text not null,
  primary key (event, position)
);
alter table app.hooks enable row level security;
comment on table app.hooks is
'The functions that a change calls in its own transaction, in order of position.';
comment on column app.hooks.function is 'The name of a function in schema app.';

create or replace function app.check_registered(p_function text)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regproc(format('app.%I', p_function)) is null then
    raise exception 'Cannot register app.%: there is no such function.', p_function;
  end if;
end;
$$;
comment on function app.check_registered is
'Raises an error unless schema app has exactly one function of this name.';

create or replace function app.register_task(p_name text, p_period text, p_function text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select app.check_registered(p_function);
  insert into app.tasks (name, period, function) values (p_name, p_period, p_function)
  on conflict (name) do update set period = excluded.period, function = excluded.function;
$$;
comment on function app.register_task is
'Registers a function of schema app as a task of app.tick. Raises an error if there is no such function.

A daily task must take the store. Every task must return a number.';

create or replace function app.register_hook(p_event text, p_position integer, p_function text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select app.check_registered(p_function);
  insert into app.hooks (event, position, function) values (p_event, p_position, p_function)
  on conflict (event, position) do update set function = excluded.function;
$$;
comment on function app.register_hook is
'Registers a function of schema app that an event calls. Raises an error if there is no such function.

The function must take a store and an order, and return a number.';

create or replace function app.call_registered(
  p_function text, p_store text default null, p_order text default null
)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer bigint;
begin
  execute format(
    case
      when p_store is null then 'select app.%I()'
      when p_order is null then 'select app.%I($1)'
      else 'select app.%I($1, $2)'
    end,
    p_function
  ) into v_answer using p_store, p_order;
  return v_answer;
end;
$$;
comment on function app.call_registered is
'Calls a registered task or listener. Returns its number.';

create or replace function app.order_changed(p_store text, p_order text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_function text;
begin
  for v_function in
    select hooks.function from app.hooks as hooks
    where hooks.event = 'order_changed'
    order by hooks.position
  loop
    perform app.call_registered(v_function, p_store, p_order);
  end loop;
end;
$$;
comment on function app.order_changed is
'Calls every listener of a changed order. A writer must call this once per order, at the end of its write.

p_order is the gid of a Shopify order, for all its units, or the id of a manual order.';

create or replace function app.tick()
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_due record;
  v_done jsonb := jsonb_build_object();
begin
  if not pg_try_advisory_xact_lock(hashtext('app.tick')) then
    return v_done;
  end if;
  -- the daily tasks of a store are due once its date has changed, even if the tick is late
  for v_due in
    with due as (
      insert into app.task_runs as last (task, store, day, ran_at)
      select tasks.name, stores.code, app.today(stores.code), app.now()
      from app.tasks as tasks cross join public.stores as stores
      where tasks.period = 'day'
      order by stores.code, tasks.name
      on conflict (task, store) do update
        set day = excluded.day, ran_at = excluded.ran_at
        where last.day < excluded.day
      returning last.task, last.store
    )
    select due.task || ' ' || due.store as name, tasks.function, due.store
    from due inner join app.tasks as tasks on tasks.name = due.task
    union all
    select tasks.name, tasks.function, null from app.tasks as tasks where tasks.period = 'tick'
  loop
    v_done := v_done || jsonb_build_object(
      v_due.name, app.call_registered(v_due.function, v_due.store)
    );
  end loop;
  return jsonb_strip_nulls(v_done);
end;
$$;
comment on function app.tick is
'Runs every task that is due. Returns the number that each task returned.

pg_cron or `bakehouse tick` calls this function every minute. More calls do no harm: a call during another call does nothing.';

select app.assert_grants();

reset role;

-- The job runs as the migration role. Scheduling the same name again replaces the job.
do $$
begin
  if to_regnamespace('cron') is not null then
    perform cron.schedule('bakehouse tick', '* * * * *', 'select app.tick()');
  end if;
end;
$$;

commit;
