-- M3 work claims: workers lease jobs, then complete or fail them. Each job runs at least once.
-- Needs: M3

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.retry_or_bury_work(p_ids bigint[], p_error text, p_delay interval)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
-- a plan made while the queue is empty would read the whole table in every later call
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
begin
  with dead as (
    delete from public.work_queue as job
    where job.id = any(p_ids) and job.retries >= job.max_retries and not job.again
    returning job.*
  )
  insert into public.work_dead (
    id, topic, priority, payload, dedupe_key, retries, max_retries, locked_by, last_error,
    created_at, died_at
  )
  select
    dead.id, dead.topic, dead.priority, dead.payload, dead.dedupe_key, dead.retries,
    dead.max_retries, dead.locked_by, p_error, dead.created_at, v_now
  from dead;
  update public.work_queue as job
  set
    next_retry_at = v_now + coalesce(
      p_delay,
      least('1 hour', interval '30 seconds' * 4 ^ least(job.retries, 10)) * (0.5 + random())
    ),
    retries = case when job.again then 0 else job.retries + 1 end,
    again = false, token = null, lease_until = '-infinity', locked_by = null, last_error = p_error,
    changed_at = v_now
  where job.id = any(p_ids);
end;
$$;
comment on function app.retry_or_bury_work is
'Schedules failed jobs to run again. Jobs without retries left move to work_dead. A job that was enqueued again while it ran starts over with all its retries. p_delay sets the delay. If p_delay is null, the delay is 30 seconds, then 2, 8, 32 and at most 60 minutes. A random factor from 0.5 to 1.5 then changes the delay, so that jobs do not all run at once.';

create or replace function app.finish_work(p_token uuid, p_ids bigint[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
  v_done integer;
  v_again integer := 0;
begin
  -- Here and below, lock jobs with a key in the same order as app.enqueue_many. Otherwise a worker
  -- and an order could deadlock. Then lock the others by id, as the delete does: a worker may extend
  -- and complete a claim at once. (`dedupe_key is not null` would read the whole index of the keys.)
  perform from public.work_queue as job
  where job.id = any(p_ids) and job.token = p_token and coalesce(job.dedupe_key, '') <> ''
  order by job.topic, job.dedupe_key for update;
  with done as (
    delete from public.work_queue as job
    where job.id = any(p_ids) and job.token = p_token and not job.again
    returning
      job.id, job.created_at, job.retries, job.topic, job.dedupe_key, job.locked_by, job.payload
  )
  insert into public.work_archive (
    id, created_at, finished_at, retries, topic, dedupe_key, locked_by, payload
  )
  select
    done.id, done.created_at, v_now, done.retries, done.topic, done.dedupe_key, done.locked_by,
    done.payload
  from done;
  get diagnostics v_done = row_count;
  if v_done < cardinality(p_ids) then
    update public.work_queue as job
    set
      retries = 0, again = false, token = null, lease_until = '-infinity', locked_by = null,
      changed_at = v_now
    where job.id = any(p_ids) and job.token = p_token;
    get diagnostics v_again = row_count;
  end if;
  return v_done + v_again;
end;
$$;
comment on function app.finish_work is
'Archives these jobs of the claim. Returns how many still belonged to the claim. A job that was enqueued again while it ran becomes ready again.';

create or replace function public.complete_and_claim_work(
  p_token uuid, p_ids bigint[], p_topics text[], p_worker text, p_limit integer default 10,
  p_lease interval default '2 minutes'
)
returns table (
  id bigint, token uuid, topic text, payload jsonb, retries smallint, lease_until timestamptz
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
  v_token uuid := gen_random_uuid();
  v_topic text;
  v_left integer := p_limit;
  v_count integer;
  v_last public.work_queue; -- the job after which the claim starts
  v_lane oid := 'public.work_queue_lane_idx'::regclass;
  v_read bigint;
begin
  perform app.require('service_role');
  if not coalesce(
    cardinality(p_topics) > 0 and length(p_worker) between 1 and 200 and p_limit between 1 and 1000
    and p_lease between '1 second' and '1 day', false
  ) then
    perform app.fail(
      'BAD_INPUT', 'A claim needs topics, a worker, 1-1000 jobs and a lease of 1 second to 1 day.'
    );
  end if;

  if cardinality(p_ids) > 0 then
    -- Finished jobs pile up at the front of the lane while an old snapshot could see them. Then start
    -- after the last job of this claim, because no ready job was left before it. Jobs that became
    -- ready there later were returned, or committed late. Only a start at the front finds them. The
    -- older the claim is, the more likely is such a start.
    select last.topic, last.priority, last.id into v_last.topic, v_last.priority, v_last.id
    from public.work_queue as last
    where current_setting('bakehouse.front', true) = 'long'
    and last.id = p_ids[cardinality(p_ids)] and last.token = p_token
    and v_now - last.changed_at < random() * interval '0.2 seconds'
    and not exists (
      select from public.work_queue as urgent
      where urgent.topic = last.topic and urgent.next_retry_at is null
      and -urgent.priority < -last.priority and urgent.lease_until <= v_now
    );
    v_count := app.finish_work(p_token, p_ids);
  end if;

  if exists (select from public.work_queue as due where due.next_retry_at <= v_now) then
    -- An array, here and below: a join could run `in (select ... limit)` twice and lock more rows.
    update public.work_queue as job
    set next_retry_at = null, changed_at = v_now
    where job.ctid = any(
      array(
        select due.ctid from public.work_queue as due
        where due.next_retry_at <= v_now
        order by due.next_retry_at
        limit p_limit
        for update skip locked
      )
    );
    v_last := null;
  end if;

  foreach v_topic in array p_topics loop
    loop
      v_read := pg_stat_get_xact_tuples_returned(v_lane);
      return query
      with claimed as (
        update public.work_queue as job
        set
          lease_until = v_now + p_lease, token = v_token, locked_by = p_worker, again = false,
          changed_at = v_now,
          retries = job.retries + case when job.token is null then 0 else 1 end
        where job.ctid = any(
          array(
            select waiting.ctid from public.work_queue as waiting
            where waiting.topic = v_topic and waiting.next_retry_at is null
            and (-waiting.priority, waiting.id) > (
              case when v_topic = v_last.topic then -v_last.priority else -10 end,
              case when v_topic = v_last.topic then v_last.id else 0 end
            )
            and waiting.lease_until <= v_now
            and (waiting.token is null or waiting.retries < waiting.max_retries)
            order by -waiting.priority, waiting.id
            limit v_left
            for update skip locked
          )
        )
        returning job.id, job.topic, job.payload, job.retries, job.lease_until, job.priority
      )
      select
        claimed.id, v_token, claimed.topic::text, claimed.payload, claimed.retries,
        claimed.lease_until
      from claimed order by claimed.priority desc, claimed.id;
      get diagnostics v_count = row_count;
      v_left := v_left - v_count;
      if (v_topic = v_last.topic) is not true then
        v_read := pg_stat_get_xact_tuples_returned(v_lane) - v_read;
        perform set_config(
          'bakehouse.front', case when v_read > 200 + 20 * v_count then 'long' else '' end, false
        );
        exit;
      end if;
      exit when v_left <= 0;
      v_last := null; -- too few: once more from the front
    end loop;
    exit when v_left <= 0;
  end loop;
end;
$$;
comment on function public.complete_and_claim_work is
'Runs complete_work and claim_work in one call and one commit, for the loop of a busy worker.

Pass p_ids in the order of their claim. While finished jobs pile up under an old snapshot, the new claim starts after the last of p_ids, or at a more urgent job. It then starts at the front about five times a second, and when too few jobs are left.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.complete_and_claim_work to service_role;

create or replace function public.claim_work(
  p_topics text[], p_worker text, p_limit integer default 10, p_lease interval default '2 minutes'
)
returns table (
  id bigint, token uuid, topic text, payload jsonb, retries smallint, lease_until timestamptz
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return query
  select
    claimed.id, claimed.token, claimed.topic, claimed.payload, claimed.retries, claimed.lease_until
  from public.complete_and_claim_work(null, null, p_topics, p_worker, p_limit, p_lease) as claimed;
end;
$$;
comment on function public.claim_work is
'Leases up to p_limit jobs to a worker for p_lease. Returns these jobs.

Topics are served in the given order. Within a topic, the most urgent jobs come first, then the oldest. All jobs of a claim share one token. complete_work, fail_work and extend_work_lease need that token. A job whose lease ran out is leased again, which counts as a retry.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.claim_work to service_role;

create or replace function public.complete_work(p_token uuid, p_ids bigint[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return app.finish_work(p_token, p_ids);
end;
$$;
comment on function public.complete_work is
'Finishes these jobs of the claim. Returns how many still belonged to the claim.

A lower number than given means that a lease ran out, and the job was taken over or is dead. A job that was enqueued again while it ran becomes ready again.

Role: service_role.';
grant execute on function public.complete_work to service_role;

create or replace function public.fail_work(
  p_token uuid, p_ids bigint[], p_error text, p_delay interval default null
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_ids bigint[];
begin
  perform app.require('service_role');
  perform app.check_range('p_delay', p_delay, '0', '1 year');
  v_ids := array(
    select job.id from public.work_queue as job
    where job.id = any(p_ids) and job.token = p_token
    order by case when job.dedupe_key is not null then job.topic end, job.dedupe_key, job.id
    for update
  );
  perform app.retry_or_bury_work(v_ids, left(p_error, 1000), p_delay);
  return cardinality(v_ids);
end;
$$;
comment on function public.fail_work is
'Reports these jobs of the claim as failed. Returns how many still belonged to the claim.

Failed jobs run again later. After the last retry they are dead. p_delay replaces the growing delay, for example when the other side names a time. p_error is stored, so it must hold no secret and no personal data.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.fail_work to service_role;

create or replace function public.extend_work_lease(p_token uuid, p_ids bigint[], p_lease interval)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
  v_count integer;
begin
  perform app.require('service_role');
  perform app.check_range('p_lease', coalesce(p_lease, '-1 second'), '0', '1 day');
  update public.work_queue as job
  set
    lease_until = case when p_lease > '0' then v_now + p_lease else '-infinity' end,
    token = case when p_lease > '0' then job.token end,
    locked_by = case when p_lease > '0' then job.locked_by end,
    again = job.again and p_lease > '0', changed_at = v_now
  where job.id = any(
    array(
      select held.id from public.work_queue as held
      where held.id = any(p_ids) and held.token = p_token
      order by case when held.dedupe_key is not null then held.topic end, held.dedupe_key, held.id
      for no key update
    )
  );
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
comment on function public.extend_work_lease is
'Extends the lease of these jobs of the claim: p_lease from now. Returns how many still belonged to the claim. A lease of 0 returns the jobs to the queue without counting a retry.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.extend_work_lease to service_role;

select app.assert_grants();
commit;
