-- M2 sync: the log of runs that fetch from Shopify, and the import of a fetched order.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.sync_runs (
  id uuid primary key default gen_random_uuid(),
  store text not null references public.stores (code),
  sync_type text not null check (sync_type in ('test_token', 'sync_products', 'sync_orders')),
  status text not null default 'running' check (status in ('running', 'success', 'error')),
  started_at timestamptz not null default app.now(),
  completed_at timestamptz,
  products_imported integer not null default 0 check (products_imported >= 0),
  products_skipped integer not null default 0 check (products_skipped >= 0),
  orders_imported integer not null default 0 check (orders_imported >= 0),
  orders_skipped integer not null default 0 check (orders_skipped >= 0),
  errors integer not null default 0 check (errors >= 0),
  error_message app.note,
  check ((status = 'running') = (completed_at is null))
);
create unique index if not exists sync_runs_running_key
on public.sync_runs (store) where status = 'running';
create index if not exists sync_runs_log_idx on public.sync_runs (store, started_at desc);
alter table public.sync_runs enable row level security;
comment on table public.sync_runs is
'The runs that synchronise a store with Shopify. At most one run per store is running.';

create or replace function public.start_sync_run(p_store text, p_sync_type text)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_run uuid;
begin
  perform app.require('Admin', p_store, true);
  if (p_store is not null and p_sync_type in ('sync_products', 'sync_orders')) is not true then
    perform app.fail('BAD_INPUT', 'Name a store, and choose sync_products or sync_orders.');
  end if;
  update public.sync_runs as runs
  set status = 'error', completed_at = app.now(), error_message = 'Never finished.'
  where runs.store = p_store and runs.status = 'running'
  and runs.started_at < app.now() - interval '1 hour';
  insert into public.sync_runs as runs (store, sync_type) values (p_store, p_sync_type)
  on conflict (store) where status = 'running' do nothing
  returning runs.id into v_run;
  if v_run is null then
    perform app.fail(
      'CONFLICT', format('A run for store %s has not finished. Try again later.', p_store),
      jsonb_build_object('store', p_store)
    );
  end if;
  perform app.audit(
    'start_sync_run', p_store, v_run::text, jsonb_build_object('sync_type', p_sync_type)
  );
  return v_run;
end;
$$;
comment on function public.start_sync_run is
'Starts a run that synchronises a store: sync_products or sync_orders. Returns the id for finish_sync_run.

Closes an unfinished run as an error if the run is older than an hour.

Role: Admin or service_role. Errors: BAD_INPUT, CONFLICT (one is running).';
grant execute on function public.start_sync_run to authenticated, service_role;

create or replace function public.finish_sync_run(
  p_run_id uuid, p_status text, p_orders_imported integer default 0,
  p_orders_skipped integer default 0, p_products_imported integer default 0,
  p_products_skipped integer default 0, p_errors integer default 0,
  p_error_message text default null
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text;
begin
  perform app.require('service_role');
  if (
    p_status in ('success', 'error') and 0 <= all(array[
      p_orders_imported, p_orders_skipped, p_products_imported, p_products_skipped, p_errors
    ])
  ) is not true then
    perform app.fail('BAD_INPUT', 'p_status must be success or error, and each count 0 or more.');
  end if;
  update public.sync_runs as runs
  set
    status = p_status, completed_at = app.now(), orders_imported = p_orders_imported,
    orders_skipped = p_orders_skipped, products_imported = p_products_imported,
    products_skipped = p_products_skipped, errors = p_errors,
    error_message = left(p_error_message, 500)
  where runs.id = p_run_id and runs.status = 'running'
  returning runs.store into v_store;
  if v_store is not null then
    perform app.audit(
      'finish_sync_run', v_store, p_run_id::text, jsonb_build_object('status', p_status)
    );
  elsif not exists (select from public.sync_runs as runs where runs.id = p_run_id) then
    perform app.not_found('run', 'run_id', p_run_id);
  end if;
  return v_store is not null;
end;
$$;
comment on function public.finish_sync_run is
'Ends a run and stores its counts. Returns false if the run had already ended, and changes nothing then.

Role: service_role. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.finish_sync_run to service_role;

create or replace function public.get_sync_log(p_store text, p_limit integer default 50)
returns table (
  id uuid, store text, sync_type text, status text, started_at timestamptz,
  completed_at timestamptz, products_imported integer, products_skipped integer,
  orders_imported integer, orders_skipped integer, errors integer, error_message text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', p_store, true);
begin
  return query
  select
    runs.id, runs.store, runs.sync_type, runs.status, runs.started_at, runs.completed_at,
    runs.products_imported, runs.products_skipped, runs.orders_imported, runs.orders_skipped,
    runs.errors, runs.error_message::text
  from public.sync_runs as runs where runs.store = any(v_caller.stores)
  order by runs.started_at desc, runs.id
  limit least(greatest(p_limit, 1), 500);
end;
$$;
comment on function public.get_sync_log is
'Returns the runs of a store, newest first, at most 500. A null store means all stores of the caller.

Role: Admin or service_role. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_sync_log to authenticated, service_role;

create or replace function public.test_admin_token(p_store text, p_token text)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_valid boolean := coalesce(app.is_plausible_secret(p_token), false);
  v_message text := case
    when v_valid then 'The token is well formed. Shopify has not been asked, and nothing is saved.'
    else 'A token has 20 to 500 visible characters and no spaces. Nothing is saved.'
  end;
  v_run uuid;
begin
  perform app.require('Admin', p_store);
  if p_store is null then
    perform app.fail('BAD_INPUT', 'Name a store.');
  end if;
  insert into public.sync_runs as runs (
    store, sync_type, status, completed_at, errors, error_message
  )
  values (
    p_store, 'test_token', case when v_valid then 'success' else 'error' end, app.now(),
    case when v_valid then 0 else 1 end, case when not v_valid then v_message end
  )
  returning runs.id into v_run;
  perform app.audit('test_admin_token', p_store, v_run::text, jsonb_build_object('valid', v_valid));
  return jsonb_build_object('valid', v_valid, 'run_id', v_run, 'message', v_message);
end;
$$;
comment on function public.test_admin_token is
'Checks the form of an Admin API token. Returns {valid, run_id, message}.

Does not ask Shopify and does not store the token.

Role: Admin. Errors: BAD_INPUT (no such store).';
grant execute on function public.test_admin_token to authenticated;

create or replace function public.import_shopify_order(p_store text, p_payload jsonb)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role', p_store);
  if p_store is null then
    perform app.fail('BAD_INPUT', 'Name a store.');
  end if;
  return app.ingest_order(p_store, 'orders/create', p_payload);
end;
$$;
comment on function public.import_shopify_order is
'Takes in a fetched order, like an orders/create webhook. Returns created, cancelled or unchanged.

A known order stays unchanged.

Role: service_role. Errors: BAD_INPUT, CONFLICT (another order has its number).';
grant execute on function public.import_shopify_order to service_role;

select app.assert_grants();
commit;
