-- M4 work care: dead jobs, statistics and cleanup of the queue.
-- Needs: M3

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace view app.work_status with (security_invoker = true) as
select
  job.id,
  job.topic,
  case
    when job.next_retry_at is not null then 'scheduled'
    when job.token is null then 'ready'
    when job.lease_until > (select app.now()) then 'running'
    when job.retries < job.max_retries then 'ready'
    else 'exhausted'
  end as status,
  job.priority,
  job.payload,
  job.dedupe_key,
  job.retries,
  job.max_retries,
  job.next_retry_at,
  nullif(job.lease_until, '-infinity') as lease_until,
  job.locked_by,
  job.last_error,
  job.created_at
from public.work_queue as job
union all
select
  dead.id,
  dead.topic,
  'dead' as status,
  dead.priority,
  dead.payload,
  dead.dedupe_key,
  dead.retries,
  dead.max_retries,
  null as next_retry_at,
  null as lease_until,
  dead.locked_by,
  dead.last_error,
  dead.created_at
from public.work_dead as dead;
comment on view app.work_status is
'The status of each unfinished or dead job: ready, running, scheduled, exhausted or dead. scheduled: delayed, or waiting to run again. exhausted: the worker died and no retry is left, so the next reap_work moves the job to work_dead.';

create or replace function app.reap_work(p_limit integer default 1000)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[] := array(
    select job.id from public.work_queue as job
    where job.token is not null and job.lease_until <= app.now()
    and job.retries >= job.max_retries
    limit greatest(p_limit, 0)
    for no key update skip locked
  );
begin
  perform app.retry_or_bury_work(v_ids, 'The worker that had this job did not come back.', null);
  return cardinality(v_ids);
end;
$$;
comment on function app.reap_work is
'Moves jobs to work_dead if their lease ran out after their last retry, at most p_limit. Returns the number of jobs. A job that was enqueued again while it ran will run again.';

create or replace function app.purge_work(
  p_keep interval default '30 days', p_limit integer default 10000
)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  delete from public.work_archive as done
  where done.ctid = any(
    array(
      select old.ctid from public.work_archive as old
      where old.finished_at < app.now() - p_keep
      order by old.finished_at
      limit p_limit
      for update skip locked
    )
  );
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
comment on function app.purge_work is
'Deletes finished jobs older than p_keep, the oldest first, at most p_limit. Returns the number of jobs.';

create or replace function app.rewind_work(p_limit integer default 10000)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := app.now();
  v_count integer;
begin
  update public.work_queue as job
  set
    next_retry_at = v_now + (job.next_retry_at - job.changed_at),
    lease_until = case
      when job.token is null then '-infinity'
      else v_now + (job.lease_until - job.changed_at)
    end,
    changed_at = v_now
  where job.id = any(
    array(
      select ahead.id from public.work_queue as ahead
      where ahead.changed_at > v_now + interval '1 minute'
      limit p_limit
      for no key update skip locked
    )
  );
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
comment on function app.rewind_work is
'Repairs jobs whose delay or lease was set while the clock was ahead, at most p_limit: the delay or lease counts from now. Returns the number of jobs.';

create or replace function app.work_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'warning', 'WORK_DEAD', min(dead.died_at), null,
    format('%s jobs of topic %s are dead.', count(*), dead.topic),
    'Read get_dead_work, remove the cause, and call requeue_dead_work.'
  from public.work_dead as dead group by dead.topic
  union all
  select
    'critical', 'WORK_WAITING', min(job.ready_at), null,
    format('%s jobs of topic %s have been ready for over 15 minutes.', count(*), job.topic),
    format('Start `bakehouse work --topic %s`, or read its log.', job.topic)
  from (
    select
      queue.topic,
      case
        when queue.next_retry_at is not null then queue.next_retry_at
        when queue.token is not null then queue.lease_until
        else queue.changed_at
      end as ready_at
    from public.work_queue as queue
  ) as job
  where job.ready_at < app.now() - interval '15 minutes'
  group by job.topic;
$$;
comment on function app.work_alerts is
'Alerts: WORK_DEAD (per topic), WORK_WAITING (jobs that no worker has taken for 15 minutes).';

create or replace function public.reap_work(p_limit integer default 1000)
returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('service_role');
  select app.reap_work(p_limit);
$$;
comment on function public.reap_work is
'Moves jobs to work_dead when their workers died and no retry is left. Returns the number of jobs.

Other jobs of dead workers need no call: claim_work leases them again.

Role: service_role.';
grant execute on function public.reap_work to service_role;

create or replace function app.foreign_stores(p_caller app.caller)
returns text[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select array(
    select stores.code from public.stores as stores where stores.code <> all(p_caller.stores)
  );
$$;
comment on function app.foreign_stores is
'Returns the stores where the caller does not work. A job with such a store in its payload is hidden from the caller.';

create or replace function public.requeue_dead_work(p_ids bigint[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_others text[] := app.foreign_stores(app.require('Admin', p_service => true));
  v_ids bigint[];
  v_topics text[];
begin
  with risen as (
    delete from public.work_dead as dead
    where dead.id = any(p_ids) and (dead.payload ->> 'store' = any(v_others)) is not true
    returning dead.*
  ),
  made as (
    insert into public.work_queue (
      id, topic, priority, payload, dedupe_key, max_retries, last_error, created_at
    )
    select
      risen.id, risen.topic, risen.priority, risen.payload, risen.dedupe_key, risen.max_retries,
      risen.last_error, risen.created_at
    from risen
    order by risen.topic, risen.dedupe_key, risen.id
    on conflict (topic, dedupe_key) where dedupe_key is not null do nothing
  )
  select array_agg(risen.id), array_agg(distinct risen.topic) into v_ids, v_topics from risen;
  if v_ids is null then
    return 0;
  end if;
  perform app.audit('requeue_dead_work', null, null, jsonb_build_object('ids', v_ids));
  perform pg_notify('bakehouse_work', raised.topic) from unnest(v_topics) as raised (topic);
  return cardinality(v_ids);
end;
$$;
comment on function public.requeue_dead_work is
'Returns dead jobs to the queue with all their retries. Returns the number of dead jobs that were found.

A dead job is dropped when the queue already has a job with its key. Skips jobs of a store where the caller does not work.

Role: Admin or service_role.';
grant execute on function public.requeue_dead_work to authenticated, service_role;

create or replace function public.get_dead_work(
  p_topic text default null, p_before bigint default null, p_limit integer default 50
)
returns table (
  id bigint, topic text, payload jsonb, dedupe_key text, retries smallint, last_error text,
  created_at timestamptz, died_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_others text[] := app.foreign_stores(app.require('Admin', p_service => true));
begin
  return query
  select
    dead.id, dead.topic::text, dead.payload, dead.dedupe_key::text, dead.retries,
    dead.last_error::text,
    dead.created_at, dead.died_at
  from public.work_dead as dead
  where (p_topic is null or dead.topic = p_topic) and (p_before is null or dead.id < p_before)
  and (dead.payload ->> 'store' = any(v_others)) is not true
  order by dead.id desc
  limit greatest(least(p_limit, 500), 0);
end;
$$;
comment on function public.get_dead_work is
'Returns dead jobs, newest first, at most 500. Pass the last id of a page as p_before for the next page. Leaves out jobs of a store where the caller does not work.

Role: Admin or service_role.';
grant execute on function public.get_dead_work to authenticated, service_role;

create or replace function public.get_work_queue_stats(p_topic text default null)
returns table (
  topic text, ready bigint, running bigint, scheduled bigint, dead bigint, done_last_hour bigint,
  oldest_ready_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Admin', p_service => true);
  with counts as (
    select
      job.topic,
      count(*) filter (where job.status = 'ready') as ready,
      count(*) filter (where job.status in ('running', 'exhausted')) as running,
      count(*) filter (where job.status = 'scheduled') as scheduled,
      count(*) filter (where job.status = 'dead') as dead,
      min(job.created_at) filter (where job.status = 'ready') as oldest_ready_at
    from app.work_status as job where p_topic is null or job.topic = p_topic
    group by job.topic
  ),
  done as (
    select finished.topic, count(*) as jobs
    from public.work_archive as finished
    where finished.finished_at > app.now() - interval '1 hour'
    and (p_topic is null or finished.topic = p_topic)
    group by finished.topic
  )
  select
    coalesce(counts.topic, done.topic), coalesce(counts.ready, 0), coalesce(counts.running, 0),
    coalesce(counts.scheduled, 0), coalesce(counts.dead, 0), coalesce(done.jobs, 0),
    counts.oldest_ready_at
  from counts
  full join done on done.topic = counts.topic
  order by 1;
$$;
comment on function public.get_work_queue_stats is
'Returns the jobs of each topic by status, and the number done in the last hour. running includes exhausted jobs. oldest_ready_at is when the oldest ready job was created.

Role: Admin or service_role.';
grant execute on function public.get_work_queue_stats to authenticated, service_role;

create or replace function app.audit_work()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select null, format('job %s exists %s times', jobs.id, count(*))
  from (
    select queued.id from public.work_queue as queued
    union all select dead.id from public.work_dead as dead
    union all select done.id from public.work_archive as done
  ) as jobs
  group by jobs.id
  having count(*) > 1
  union all
  select null, format('job %s of topic %s has half a lease, or too many retries', job.id, job.topic)
  from public.work_queue as job
  where (job.token is null) <> (job.lease_until = '-infinity')
  or (job.token is null) <> (job.locked_by is null)
  or job.token is null and job.again
  or job.token is not null and job.next_retry_at is not null
  or job.retries > job.max_retries
  union all
  select null, format('job %s of topic %s is dead and has retries left', dead.id, dead.topic)
  from public.work_dead as dead
  where dead.retries < dead.max_retries;
$$;
comment on function app.audit_work is
'Invariant: a job is in the queue, dead or done, and only one of these. A running job has a token, a worker and the end of its lease, and no other job has any of them. A dead job has no retries left.';

select app.register_invariant('work', 'audit_work');
select app.register_task('reap_work', 'tick', 'reap_work');
select app.register_task('purge_work', 'tick', 'purge_work');
select app.register_task('rewind_work', 'tick', 'rewind_work');
select app.register_hook('alerts', 60, 'work_alerts');

select app.assert_grants();
commit;
