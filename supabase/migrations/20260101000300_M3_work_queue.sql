-- M3 work queue: the tables of the jobs, and enqueueing.
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
-- Negated, so that all columns ascend: a claim can then start at any job of the lane.
create index if not exists work_queue_lane_idx
on public.work_queue (topic, (-priority), id) where next_retry_at is null;
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
  if p_dedupe_keys is null then
    -- no key, no conflict: a sixth less work than the statement below
    with made as (
      insert into public.work_queue as job (
        id, topic, payload, priority, max_retries, created_at, changed_at, next_retry_at
      )
      select
        v_first + nextval('public.work_queue_id_seq'), p_topic, new.payload, p_priority,
        p_max_retries, v_now, v_now, case when p_delay > '0' then v_now + p_delay end
      from unnest(p_payloads) as new (payload)
      returning job.id
    )
    select coalesce(array_agg(made.id), '{}') into v_ids from made;
  else
    -- Sorted, so that two batches cannot deadlock. The conflict locks a job that is already waiting.
    -- A worker can claim that job only after this transaction commits, and then sees its changes.
    with made as (
      insert into public.work_queue as job (
        id, topic, payload, dedupe_key, priority, max_retries, created_at, changed_at,
        next_retry_at
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
  end if;
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
      p_topic, array[p_payload], case when p_dedupe_key is not null then array[p_dedupe_key] end,
      p_priority, p_delay, p_max_retries
    )
  )[1];
end;
$$;
comment on function app.enqueue is
'Adds one job to the queue. Returns the id as app.enqueue_many does, or null when nothing changed. Raises BAD_INPUT.';

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

select app.assert_grants();
commit;
