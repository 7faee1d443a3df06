-- M3 work queue: jobs that outlive their worker. Each job runs at least once.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create sequence if not exists public.work_queue_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.work_queue (
  id bigint primary key default (app.first_id() + nextval('public.work_queue_id_seq')),
  created_at timestamptz not null default app.now(),
  changed_at timestamptz not null default app.now(),
  next_retry_at timestamptz,
  lease_until timestamptz not null default '-infinity',
  token uuid,
  priority smallint not null default 5 check (priority between 1 and 9),
  retries smallint not null default 0,
  max_retries smallint not null default 3,
  again boolean not null default false,
  topic app.code not null,
  dedupe_key app.code,
  locked_by app.code,
  payload jsonb not null,
  last_error app.note
) with (
  -- Every claim is a HOT update. No index holds the columns that a claim writes, and each page has
  -- room for new versions of its rows. So a claim writes to no index, and little WAL.
  fillfactor = 45,
  -- a fixed number of rows, because the size of this table changes all the time
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);
alter sequence public.work_queue_id_seq owned by public.work_queue.id;
create index if not exists work_queue_lane_idx
on public.work_queue (topic, priority desc, id) where next_retry_at is null;
create index if not exists work_queue_due_idx
on public.work_queue (next_retry_at) where next_retry_at is not null;
create unique index if not exists work_queue_dedupe_key
on public.work_queue (topic, dedupe_key) where dedupe_key is not null;
alter table public.work_queue enable row level security;
comment on table public.work_queue is
'Unfinished jobs. app.work_status shows the status of each. Finished jobs move to work_archive, dead ones to work_dead.';
comment on column public.work_queue.changed_at is
'When the job became ready, delayed or leased. A future time shows that the clock was wrong, so app.rewind_work sets the delay or lease again.';
comment on column public.work_queue.next_retry_at is
'The job runs no earlier than this: it was delayed or has failed. Null: it is ready.';
comment on column public.work_queue.lease_until is
'When the lease of the worker ends. After that another worker may claim the job, which counts as a retry.';
comment on column public.work_queue.token is
'The claim that leases the job. Completing, failing or extending needs this token. Null: no worker has the job.';
comment on column public.work_queue.priority is '1 to 9. 9 is the most urgent.';
comment on column public.work_queue.max_retries is
'How often the job may run again after a failure or the death of its worker.';
comment on column public.work_queue.again is
'True: the job was enqueued again while running. Completing it makes it ready again.';
comment on column public.work_queue.dedupe_key is
'The subject of the job. Each topic and key has at most one unfinished job, which keeps the first payload.';
comment on column public.work_queue.payload is 'Ids, never personal data.';

create table if not exists public.work_dead (
  id bigint primary key,
  topic app.code not null,
  priority smallint not null,
  payload jsonb not null,
  dedupe_key app.code,
  retries smallint not null,
  max_retries smallint not null,
  locked_by app.code,
  last_error app.note,
  created_at timestamptz not null,
  died_at timestamptz not null default app.now()
);
create index if not exists work_dead_topic_idx on public.work_dead (topic, id);
alter table public.work_dead enable row level security;
comment on table public.work_dead is
'Jobs that ran out of retries. requeue_dead_work returns them to the queue.';

create table if not exists public.work_archive (
  id bigint not null,
  created_at timestamptz not null,
  finished_at timestamptz not null,
  retries smallint not null,
  topic app.code not null,
  dedupe_key app.code,
  locked_by app.code,
  payload jsonb not null
);
create index if not exists work_archive_finished_idx on public.work_archive (finished_at);
-- a job that was enqueued again while it ran is archived twice, so its id is no key
alter table public.work_archive replica identity full;
alter table public.work_archive enable row level security;
comment on table public.work_archive is
'Finished jobs, until app.purge_work deletes them. Claims never read this table.';

create or replace function app.enqueue_many(
  p_topic text, p_payloads jsonb[], p_dedupe_keys text[] default null,
  p_priority smallint default 5, p_delay interval default '0', p_max_retries smallint default 3
)
returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
  v_first bigint := app.first_id(); -- once, because the default of id would ask for each job
  v_ids bigint[];
begin
  if not coalesce(
    p_topic ~ '^[a-z][a-z0-9_]{0,62}$' and p_payloads is not null and p_priority between 1 and 9
    and p_max_retries >= 0 and p_delay between '0' and '1 year'
    and cardinality(coalesce(p_dedupe_keys, '{}')) in (0, cardinality(p_payloads)), false
  ) then
    perform app.fail(
      'BAD_INPUT', 'Check topic, payloads, keys, priority (1-9), retries and delay (0 to 1 year).'
    );
  end if;
  if exists (
    select from unnest(p_payloads, p_dedupe_keys) as job (payload, dedupe_key)
    where jsonb_typeof(job.payload) is distinct from 'object'
    or job.dedupe_key = '' or length(job.dedupe_key) > 200
  ) then
    perform app.fail('BAD_INPUT', 'A payload must be an object. A key has 1 to 200 characters.');
  end if;
  -- Sorted, so that two batches cannot deadlock. The conflict locks a job that is already waiting.
  -- A worker can claim that job only after this transaction commits, and then sees its changes.
  with made as (
    insert into public.work_queue as job (
      id, topic, payload, dedupe_key, priority, max_retries, created_at, changed_at, next_retry_at
    )
    select
      v_first + nextval('public.work_queue_id_seq'),
      p_topic, new.payload, new.dedupe_key, p_priority, p_max_retries, v_now, v_now,
      case when p_delay > '0' then v_now + p_delay end
    from (
      select distinct on (given.dedupe_key, case when given.dedupe_key is null then given.nr end)
        given.payload, given.dedupe_key
      from unnest(p_payloads, p_dedupe_keys) with ordinality as given (payload, dedupe_key, nr)
      order by given.dedupe_key, case when given.dedupe_key is null then given.nr end, given.nr
    ) as new
    on conflict (topic, dedupe_key) where dedupe_key is not null do update
      set again = true
      where job.token is not null and not job.again
    returning job.id
  )
  select coalesce(array_agg(made.id), '{}') into v_ids from made;
  if cardinality(v_ids) > 0 and p_delay = '0' then
    perform pg_notify('bakehouse_work', p_topic); -- Postgres sends equal messages once
  end if;
  return v_ids;
end;
$$;
comment on function app.enqueue_many is
'Adds jobs of one topic to the queue. Returns the ids of new jobs and of running jobs that will run again. Raises BAD_INPUT.

p_dedupe_keys holds one key per payload, or null for a job without a key. If a job with the key waits, nothing changes. If that job is running, it will run again afterwards. The commit wakes the workers: NOTIFY bakehouse_work, with the topic. Several calls in one transaction must follow the order of the keys, or they may deadlock.';

create or replace function app.enqueue(
  p_topic text, p_payload jsonb, p_dedupe_key text default null, p_priority smallint default 5,
  p_delay interval default '0', p_max_retries smallint default 3
)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    app.enqueue_many(
      p_topic, array[p_payload], array[p_dedupe_key], p_priority, p_delay, p_max_retries
    )
  )[1];
end;
$$;
comment on function app.enqueue is
'Adds one job to the queue. Returns the id as app.enqueue_many does, or null when nothing changed. Raises BAD_INPUT.';

create or replace function app.retry_or_bury_work(p_ids bigint[], p_error text, p_delay interval)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
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

create or replace function public.enqueue_work(
  p_topic text, p_payload jsonb, p_dedupe_key text default null, p_priority smallint default 5,
  p_delay interval default '0', p_max_retries smallint default 3
)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return app.enqueue(p_topic, p_payload, p_dedupe_key, p_priority, p_delay, p_max_retries);
end;
$$;
comment on function public.enqueue_work is
'Adds a job to the queue and returns its id. If a job with the same key is running, that job will run again, and the call returns its id. Returns null if nothing changed, because such a job already waits or will already run again. Priority 9 is the most urgent.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.enqueue_work to service_role;

create or replace function public.enqueue_work_many(
  p_topic text, p_payloads jsonb[], p_dedupe_keys text[] default null,
  p_priority smallint default 5, p_delay interval default '0', p_max_retries smallint default 3
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return cardinality(
    app.enqueue_many(p_topic, p_payloads, p_dedupe_keys, p_priority, p_delay, p_max_retries)
  );
end;
$$;
comment on function public.enqueue_work_many is
'Adds many jobs of one topic to the queue. Returns how many are new or will run again.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.enqueue_work_many to service_role;

create or replace function public.claim_work(
  p_topics text[], p_worker text, p_limit integer default 10, p_lease interval default '2 minutes'
)
returns table (
  id bigint, token uuid, topic text, payload jsonb, retries smallint, lease_until timestamptz
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
-- a plan made while the queue is empty would read the whole table in every later call
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

  foreach v_topic in array p_topics loop
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
          and waiting.lease_until <= v_now
          and (waiting.token is null or waiting.retries < waiting.max_retries)
          order by waiting.priority desc, waiting.id
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
    exit when v_left <= 0;
  end loop;
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
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_done integer;
  v_again integer := 0;
begin
  perform app.require('service_role');
  -- Here and below, lock jobs with a key in the same order as app.enqueue_many. Otherwise a worker
  -- and an order could deadlock. Then lock the others by id, as the delete does: a worker may extend
  -- and complete a claim at once.
  perform from public.work_queue as job
  where job.id = any(p_ids) and job.token = p_token and job.dedupe_key is not null
  order by job.topic, job.dedupe_key for update;
  with done as (
    delete from public.work_queue as job
    where job.id = any(p_ids) and job.token = p_token and not job.again
    returning job.*
  )
  insert into public.work_archive (
    id, created_at, finished_at, retries, topic, dedupe_key, locked_by, payload
  )
  select
    done.id, done.created_at, (select app.now()), done.retries, done.topic, done.dedupe_key,
    done.locked_by, done.payload
  from done;
  get diagnostics v_done = row_count;
  if v_done < cardinality(p_ids) then
    update public.work_queue as job
    set
      retries = 0, again = false, token = null, lease_until = '-infinity', locked_by = null,
      changed_at = (select app.now())
    where job.id = any(p_ids) and job.token = p_token;
    get diagnostics v_again = row_count;
  end if;
  return v_done + v_again;
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

create or replace function public.complete_and_claim_work(
  p_token uuid, p_ids bigint[], p_topics text[], p_worker text, p_limit integer default 10,
  p_lease interval default '2 minutes'
)
returns table (
  id bigint, token uuid, topic text, payload jsonb, retries smallint, lease_until timestamptz
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.complete_work(p_token, p_ids);
  return query
  select
    claimed.id, claimed.token, claimed.topic, claimed.payload, claimed.retries, claimed.lease_until
  from public.claim_work(p_topics, p_worker, p_limit, p_lease) as claimed;
end;
$$;
comment on function public.complete_and_claim_work is
'Runs complete_work and claim_work in one call and one commit, for the loop of a busy worker.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.complete_and_claim_work to service_role;

select app.assert_grants();
commit;
