-- M3 work queue: jobs that survive the worker, each done at least once.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.work_queue (
  id bigint generated always as identity primary key,
  created_at timestamptz not null default app.now(),
  next_retry_at timestamptz,
  lease_until timestamptz not null default '-infinity',
  token uuid,
  priority smallint not null default 5 check (priority between 1 and 9),
  retries smallint not null default 0,
  max_retries smallint not null default 3,
  again boolean not null default false,
  topic text not null,
  dedupe_key text,
  locked_by text,
  payload jsonb not null,
  last_error text
) with (
  -- A claim rewrites the row: no index may hold what it writes, and a page must have room for new
  -- versions of all its rows at once. Only then does it touch no index and hardly any WAL.
  fillfactor = 45,
  -- size says nothing about a table that fills and empties
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);
-- in the order of claims, without the jobs that wait for their time
create index if not exists work_queue_lane_idx
on public.work_queue (topic, priority desc, id)
where next_retry_at is null;
create index if not exists work_queue_due_idx
on public.work_queue (next_retry_at)
where next_retry_at is not null;
create unique index if not exists work_queue_dedupe_key
on public.work_queue (topic, dedupe_key)
where dedupe_key is not null;
alter table public.work_queue enable row level security;
comment on table public.work_queue is
'Unfinished jobs. app.work_status says how each one stands; who finishes goes to work_archive, who fails for good to work_dead.';
comment on column public.work_queue.next_retry_at is
'Not before then: a delayed job, or one that failed. Null: as soon as there is a worker.';
comment on column public.work_queue.lease_until is
'Until then the job is its worker''s. Past it, another may take the job over, which counts as a retry.';
comment on column public.work_queue.token is
'The claim that has the job: only its holder may finish, fail or extend it. Null: nobody works on it.';
comment on column public.work_queue.priority is
'1 to 9. Higher is more urgent, as with orders.';
comment on column public.work_queue.max_retries is
'How often a job that failed, or whose worker died, is tried again before it is dead.';
comment on column public.work_queue.again is
'Asked for once more while a worker was at it: completing it makes it wait again.';
comment on column public.work_queue.dedupe_key is
'What the job is about. At most one unfinished job per topic and key; the first payload stays.';
comment on column public.work_queue.payload is 'Ids, never personal data.';

create table if not exists public.work_dead (
  id bigint primary key,
  topic text not null,
  priority smallint not null,
  payload jsonb not null,
  dedupe_key text,
  retries smallint not null,
  max_retries smallint not null,
  locked_by text,
  last_error text,
  created_at timestamptz not null,
  died_at timestamptz not null default app.now()
);
create index if not exists work_dead_topic_idx on public.work_dead (topic, id);
alter table public.work_dead enable row level security;
comment on table public.work_dead is
'Jobs that failed too often. They wait for a person: requeue_dead_work.';

create table if not exists public.work_archive (
  id bigint not null,
  created_at timestamptz not null,
  finished_at timestamptz not null,
  retries smallint not null,
  topic text not null,
  dedupe_key text,
  locked_by text,
  payload jsonb not null
);
create index if not exists work_archive_finished_idx on public.work_archive (finished_at);
alter table public.work_archive enable row level security;
comment on table public.work_archive is
'Finished jobs, for as long as app.purge_work keeps them. No claim ever reads it.';

create or replace function app.enqueue_many(
  p_topic text,
  p_payloads jsonb[],
  p_dedupe_keys text[] default null,
  p_priority smallint default 5,
  p_delay interval default '0',
  p_max_retries smallint default 3
)
returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := app.now();
  v_ids bigint[];
begin
  if not coalesce(
    p_topic ~ '^[a-z][a-z0-9_]{0,62}$' and p_payloads is not null and p_priority between 1 and 9
    and p_max_retries >= 0 and p_delay between '0' and '1 year'
    and cardinality(coalesce(p_dedupe_keys, '{}')) in (0, cardinality(p_payloads)), false
  ) then
    perform app.fail('BAD_INPUT', 'A job has a topic, a payload and a priority from 1 to 9.');
  end if;
  if exists (
    select from unnest(p_payloads, p_dedupe_keys) as job (payload, dedupe_key)
    where jsonb_typeof(job.payload) is distinct from 'object'
    or job.dedupe_key = '' or length(job.dedupe_key) > 200
  ) then
    perform app.fail(
      'BAD_INPUT', 'A payload is an object, and its key, if it has one, 1 to 200 characters.'
    );
  end if;

  -- Sorted, so that two batches wait for each other in one order. A job that waits is not changed
  -- but locked: until this transaction commits nobody can claim it and miss what we have changed.
  with made as (
    insert into public.work_queue as job (
      topic, payload, dedupe_key, priority, max_retries, created_at, next_retry_at
    )
    select distinct on (new.dedupe_key, case when new.dedupe_key is null then new.nr end)
      p_topic, new.payload, new.dedupe_key, p_priority, p_max_retries, v_now,
      case when p_delay > '0' then v_now + p_delay end
    from unnest(p_payloads, p_dedupe_keys) with ordinality as new (payload, dedupe_key, nr)
    order by new.dedupe_key, case when new.dedupe_key is null then new.nr end, new.nr
    on conflict (topic, dedupe_key) where dedupe_key is not null do update
      set again = true
      where job.token is not null and not job.again
    returning job.id
  )
  select coalesce(array_agg(made.id), '{}') into v_ids from made;

  if cardinality(v_ids) > 0 and p_delay = '0' then
    perform pg_notify('bakehouse_work', p_topic); -- the same words once per transaction
  end if;
  return v_ids;
end;
$$;
comment on function app.enqueue_many is
'Put jobs of one topic into the queue and wake its workers once this transaction commits: NOTIFY bakehouse_work, the topic.

Keys go with the payloads, one each; null for jobs that are never the same. A key that waits already is left alone; one that a worker is at will be done again after it. Answers the ids of the jobs made and of those to be done again. Who calls it several times in a transaction does so in the order of the keys. Raises BAD_INPUT.';

create or replace function app.enqueue(
  p_topic text,
  p_payload jsonb,
  p_dedupe_key text default null,
  p_priority smallint default 5,
  p_delay interval default '0',
  p_max_retries smallint default 3
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
'Put one job into the queue: its id, or that of the running job that will be done again. Null: a job with that key waits already.

See app.enqueue_many. Raises BAD_INPUT.';

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
    again = false, token = null, lease_until = '-infinity', locked_by = null, last_error = p_error
  where job.id = any(p_ids);
end;
$$;
comment on function app.retry_or_bury_work is
'What failed waits to be tried again: half a minute, 2, 8, up to an hour, half more or less at random; or p_delay. What was tried often enough is dead, unless it was asked for again meanwhile.';

create or replace function public.enqueue_work(
  p_topic text,
  p_payload jsonb,
  p_dedupe_key text default null,
  p_priority smallint default 5,
  p_delay interval default '0',
  p_max_retries smallint default 3
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
'Put a job into the queue: its id, or that of the running job that will be done again. Null: a job with that key waits already.

Priority 9 is the most urgent.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.enqueue_work to service_role;

create or replace function public.enqueue_work_many(
  p_topic text,
  p_payloads jsonb[],
  p_dedupe_keys text[] default null,
  p_priority smallint default 5,
  p_delay interval default '0',
  p_max_retries smallint default 3
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
'Put many jobs of one topic into the queue; how many there were that did not wait already.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.enqueue_work_many to service_role;

create or replace function public.claim_work(
  p_topics text[],
  p_worker text,
  p_limit integer default 10,
  p_lease interval default '2 minutes'
)
returns table (
  id bigint, token uuid, topic text, payload jsonb, retries smallint, lease_until timestamptz
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
-- a plan made while the queue is empty, as it mostly is, would read the whole table for good
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
    cardinality(p_topics) > 0 and p_worker <> '' and p_limit between 1 and 1000
    and p_lease between '1 second' and '1 day', false
  ) then
    perform app.fail(
      'BAD_INPUT', 'A claim names topics and a worker, 1 to 1000 jobs and up to a day.'
    );
  end if;

  -- here and below not `in (select ... limit)`: a join may run that again and lock more
  update public.work_queue as job
  set next_retry_at = null
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
      claimed.id, v_token, claimed.topic, claimed.payload, claimed.retries, claimed.lease_until
    from claimed
    order by claimed.priority desc, claimed.id;
    get diagnostics v_count = row_count;
    v_left := v_left - v_count;
    exit when v_left <= 0;
  end loop;
end;
$$;
comment on function public.claim_work is
'Take up to so many jobs and hold them for a while: the topics in the order given, in each the most urgent first, then the oldest.

All jobs of a claim share its token, without which nobody can finish, fail or extend them. A job whose lease has run out is handed out again; that counts as a retry.

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
  v_now timestamptz := app.now();
  v_done integer;
  v_again integer;
begin
  perform app.require('service_role');
  -- Those that somebody may be asking for again are locked in the order in which they ask, here and
  -- below, or a worker and an order could each wait for the other.
  perform from public.work_queue as job
  where job.id = any(p_ids) and job.token = p_token and job.dedupe_key is not null
  order by job.topic, job.dedupe_key
  for update;
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
  if v_done = cardinality(p_ids) then
    return v_done;
  end if;

  update public.work_queue as job
  set retries = 0, again = false, token = null, lease_until = '-infinity', locked_by = null
  where job.id = any(p_ids) and job.token = p_token;
  get diagnostics v_again = row_count;
  return v_done + v_again;
end;
$$;
comment on function public.complete_work is
'These jobs of the claim are done; how many of them were still the claim''s.

Fewer than were named: the lease had run out, and another worker has taken the rest over. A job that was asked for again meanwhile waits again.

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
  if p_delay not between '0' and '1 year' then
    perform app.fail('BAD_INPUT', 'A delay is not negative and at most a year.');
  end if;
  v_ids := array(
    select job.id from public.work_queue as job
    where job.id = any(p_ids) and job.token = p_token
    order by job.topic, job.dedupe_key
    for update
  );
  perform app.retry_or_bury_work(v_ids, left(p_error, 1000), p_delay);
  return cardinality(v_ids);
end;
$$;
comment on function public.fail_work is
'These jobs of the claim failed: they are tried again later, or are dead after their last retry; how many were still the claim''s.

p_delay replaces the growing delay, as when the other side says when to come back. The error is kept: no secret and no personal data.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.fail_work to service_role;

create or replace function public.extend_work_lease(
  p_token uuid, p_ids bigint[], p_lease interval
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count integer;
begin
  perform app.require('service_role');
  if not coalesce(p_lease between '0' and '1 day', false) then
    perform app.fail('BAD_INPUT', 'A lease is not negative and at most a day.');
  end if;
  update public.work_queue as job
  set
    lease_until = app.now() + p_lease,
    token = case when p_lease > '0' then job.token end
  where job.id = any(
    array(
      select held.id from public.work_queue as held
      where held.id = any(p_ids) and held.token = p_token
      order by held.topic, held.dedupe_key
      for no key update
    )
  );
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
comment on function public.extend_work_lease is
'Hold these jobs of the claim for so long from now; how many were still the claim''s.

A lease of zero gives them back untouched, which is no retry.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.extend_work_lease to service_role;

create or replace function public.complete_and_claim_work(
  p_token uuid,
  p_ids bigint[],
  p_topics text[],
  p_worker text,
  p_limit integer default 10,
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
    claimed.id, claimed.token, claimed.topic, claimed.payload, claimed.retries,
    claimed.lease_until
  from public.claim_work(p_topics, p_worker, p_limit, p_lease) as claimed;
end;
$$;
comment on function public.complete_and_claim_work is
'complete_work and claim_work in one call and one commit: the loop of a busy worker.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.complete_and_claim_work to service_role;

select app.assert_grants();

commit;
