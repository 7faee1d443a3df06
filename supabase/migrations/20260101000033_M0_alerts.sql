-- M0 alerts: what is wrong now, as rows. Each file registers a function that returns its alerts.

begin;
set local lock_timeout = '5s';

-- Only the migration role may read when the transaction of another role began, and this right
-- cannot be granted on Supabase. So app.sessions belongs to the migration role.
create or replace function app.sessions()
returns table (pid integer, name text, state text, since timestamptz)
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select
    activity.pid, coalesce(nullif(activity.application_name, ''), 'no name'), activity.state,
    coalesce(activity.xact_start, activity.state_change)
  from pg_stat_activity as activity
  where activity.datname = current_database() and activity.pid <> pg_backend_pid();
$$;
alter function app.sessions() owner to current_user;
comment on function app.sessions is
'Returns the other sessions of this database: process, application name and state. since is when the transaction began, or when an idle session became idle.';
revoke all on function app.sessions() from public, anon, authenticated, service_role;
grant execute on function app.sessions() to bakehouse_owner;

set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.alert') is null then
    create type app.alert as (
      severity text, code text, since timestamptz, store text, problem text, remedy text
    );
  end if;
end;
$$;
comment on type app.alert is
'Something that is wrong now. severity is critical, warning or notice. Without a store, the alert concerns all stores.';

create table if not exists app.advisory_locks (
  key bigint primary key,
  name text not null
);
alter table app.advisory_locks enable row level security;
comment on table app.advisory_locks is
'Our advisory locks. Every session can take one and stop something, so app.lock_alerts names the holder.';
comment on column app.advisory_locks.name is 'The thing that the lock protects.';

create or replace function app.register_advisory_lock(p_key bigint, p_name text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  insert into app.advisory_locks (key, name) values (p_key, p_name)
  on conflict (key) do update set name = excluded.name;
$$;
comment on function app.register_advisory_lock is
'Registers an advisory lock of ours, so that app.lock_alerts names a session that holds the lock for a minute.';

create or replace function app.lock_alerts()
returns setof app.alert
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  with held as (
    select
      locks.pid,
      coalesce('table ' || nsp.nspname || '.' || rel.relname, ours.name) as name
    from pg_locks as locks
    left join pg_class as rel
      on locks.locktype = 'relation' and rel.oid = locks.relation and rel.relkind in ('r', 'p')
      and rel.relowner = 'bakehouse_owner'::regrole
      and locks.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
    left join pg_namespace as nsp on nsp.oid = rel.relnamespace
    left join app.advisory_locks as ours
      on locks.locktype = 'advisory' and locks.objsubid = 1
      and ours.key = (locks.classid::bigint << 32) | locks.objid::bigint
    where locks.granted
    and locks.database = (
      select db.oid from pg_database as db where db.datname = current_database()
    )
  )
  select
    'warning', 'LOCK_HELD', sessions.since, null,
    format(
      'Process %s (%s, %s) has held locks for %s: %s.', sessions.pid, sessions.name, sessions.state,
      date_trunc('second', app.now() - sessions.since),
      string_agg(distinct held.name, ', ' order by held.name)
    ),
    format(
      'Commit or roll back there. If nobody can: select pg_terminate_backend(%s).', sessions.pid
    )
  from app.sessions() as sessions
  inner join held on held.pid = sessions.pid and held.name is not null
  where sessions.since < app.now() - interval '1 minute'
  group by sessions.pid, sessions.name, sessions.state, sessions.since;
$$;
comment on function app.lock_alerts is
'Alerts: LOCK_HELD, a session that has held a lock on our rows, or one of our advisory locks, for over a minute.';

create or replace function app.alerts()
returns setof app.alert
language plpgsql volatile set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- a locked table must not hide the other alerts
as $$
declare
  v_function text;
begin
  for v_function in
    select hooks.function from app.hooks as hooks
    where hooks.event = 'alerts'
    order by hooks.position
  loop
    begin
      return query execute format('select * from app.%I()', v_function);
    exception
      when others then
        return next row(
          'warning', 'ALERTS_INCOMPLETE', app.now(), null,
          format('app.%s cannot tell its alerts: %s', v_function, left(sqlerrm, 200)),
          'Remove the cause of the error. LOCK_HELD names a session that holds a lock.'
        )::app.alert;
    end;
  end loop;
end;
$$;
comment on function app.alerts is
'Returns all alerts, from every function that is registered for the event alerts. ALERTS_INCOMPLETE names a function that failed.';

create or replace function public.get_alerts(p_store text default null)
returns table (
  severity text, code text, since timestamptz, store text, problem text, remedy text
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor', p_store);
begin
  return query
  select
    alerts.severity, alerts.code, alerts.since, alerts.store, alerts.problem, alerts.remedy
  from app.alerts() as alerts
  where alerts.store is null or alerts.store = any(v_caller.stores)
  order by
    array_position(array['critical', 'warning', 'notice'], alerts.severity), alerts.since,
    alerts.code, alerts.store;
end;
$$;
comment on function public.get_alerts is
'Returns what is wrong now, the most severe first, then the oldest. Empty if all is well.

severity is critical, warning or notice. code is a symbol for programs. problem is a sentence for people, and remedy says what to do. An alert without a store concerns all stores. p_store leaves out the alerts of other stores.

Role: Supervisor. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_alerts to authenticated;

select app.register_hook('alerts', 10, 'lock_alerts');

select app.assert_grants();
commit;
