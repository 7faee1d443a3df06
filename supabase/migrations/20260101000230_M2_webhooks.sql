-- M2 webhooks: signed deliveries from Shopify, dead letters and their replay.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create sequence if not exists public.webhook_deliveries_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.webhook_deliveries (
  id bigint primary key default (app.first_id() + nextval('public.webhook_deliveries_id_seq')),
  store text not null references public.stores (code),
  webhook_id app.code not null,
  topic app.code not null,
  status text not null default 'ok' check (status in ('ok', 'dead')),
  attempts integer not null default 1,
  last_error app.code,
  reason app.note,
  body text,
  received_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  unique (store, webhook_id),
  check ((status = 'dead') = (last_error is not null))
);
alter sequence public.webhook_deliveries_id_seq owned by public.webhook_deliveries.id;
create index if not exists webhook_deliveries_dead_idx
on public.webhook_deliveries (id) where status = 'dead';
alter table public.webhook_deliveries enable row level security;
comment on table public.webhook_deliveries is
'Every authentic webhook delivery, once. A temporary error leaves no row, and Shopify sends the webhook again.';
comment on column public.webhook_deliveries.webhook_id is
'The id that Shopify gives a delivery. Repeats have the same id.';
comment on column public.webhook_deliveries.status is
'ok, or dead if the webhook cannot be applied. An Admin may remove the cause and replay a dead delivery.';
comment on column public.webhook_deliveries.attempts is
'How often the delivery arrived or was replayed.';
comment on column public.webhook_deliveries.last_error is
'The error of a dead delivery, a symbol of app.error_codes. reason has the message.';
comment on column public.webhook_deliveries.body is
'The body of a dead delivery, for a replay. app.purge_deliveries deletes the body after 30 days, because of personal data.';

create or replace function app.process_delivery(
  p_delivery bigint, p_store text, p_topic text, p_body text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome text;
  v_code text;
  v_reason text;
begin
  begin
    v_outcome := app.ingest_order(p_store, p_topic, app.read_json(p_body));
  exception
    -- A retry cannot help a rejected payload. Other errors go to the caller.
    when sqlstate 'PT400' or sqlstate 'PT409' then
      get stacked diagnostics v_code = pg_exception_hint, v_reason = message_text;
  end;
  update public.webhook_deliveries as deliveries
  set
    status = case when v_code is null then 'ok' else 'dead' end,
    last_error = v_code, reason = v_reason, body = case when v_code is not null then p_body end
  where deliveries.id = p_delivery
  and (v_code is not null or deliveries.status = 'dead'); -- a new row has status ok already
  return jsonb_build_object(
    'status', case when v_code is null then 'ok' else 'dead_letter' end, 'delivery_id', p_delivery,
    'outcome', v_outcome, 'error', v_code
  );
end;
$$;
comment on function app.process_delivery is
'Applies a delivery. If the payload is rejected, rolls back and marks the delivery as a dead letter.

Returns {status, delivery_id, outcome, error}. Raises any other error, because a later retry can succeed.';

create or replace function app.purge_deliveries()
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_purged integer;
begin
  -- Skip a delivery that is being replayed: the next run finds it.
  update public.webhook_deliveries as deliveries
  set body = null
  where deliveries.id = any(array(
    select old.id from public.webhook_deliveries as old
    where old.status = 'dead' and old.body is not null
    and old.received_at < app.now() - interval '30 days'
    for no key update skip locked
  ));
  delete from public.webhook_deliveries as deliveries
  where deliveries.id = any(array(
    select old.id from public.webhook_deliveries as old
    where old.received_at < app.now() - interval '90 days'
    for update skip locked
  ));
  get diagnostics v_purged = row_count;
  return v_purged;
end;
$$;
comment on function app.purge_deliveries is
'Deletes bodies of dead letters after 30 days, and all deliveries after 90. Returns the number of deleted deliveries.

Shopify repeats a delivery for at most two days. A later repeat adds nothing, because its order is known.';

create or replace function app.delivery_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'warning', 'WEBHOOKS_DEAD', min(deliveries.received_at), deliveries.store,
    format('%s webhooks of %s cannot be applied.', count(*), deliveries.store),
    'Read get_webhook_deliveries, remove the cause, and call replay_webhook_delivery.'
  from public.webhook_deliveries as deliveries
  where deliveries.status = 'dead' and deliveries.body is not null
  group by deliveries.store;
$$;
comment on function app.delivery_alerts is
'Alerts: WEBHOOKS_DEAD, per store the dead letters that can still be replayed.';

create or replace function public.ingest_shopify_webhook(
  p_shop_domain text, p_topic text, p_webhook_id text, p_hmac text, p_body text
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set jit = off -- to compile these short statements takes longer than to run them
set plan_cache_mode = force_generic_plan
as $$
declare
  v_store text;
  v_signature text;
  v_delivery record;
begin
  perform app.require('service_role');
  if app.is_ingest_paused() then
    perform app.fail('PAUSED', 'Webhooks are paused. Send this webhook again later.');
  end if;
  select stores.code into v_store
  from public.stores as stores where stores.shop_domain = lower(p_shop_domain);
  v_signature := encode(
    extensions.hmac(
      convert_to(p_body, 'UTF8'), convert_to(app.shop_secret(v_store, 'webhook'), 'UTF8'), 'sha256'
    ),
    'base64'
  );
  -- compares hashes, so that the duration reveals nothing about the signature
  if (
    length(p_hmac) = length(v_signature)
    and sha256(convert_to(p_hmac, 'UTF8')) = sha256(convert_to(v_signature, 'UTF8'))
    and length(p_topic) between 1 and 100 and length(p_webhook_id) between 1 and 200
  ) is not true then
    perform app.fail(
      'BAD_SIGNATURE', 'The webhook is not signed by a known store. Check its webhook secret.'
    );
  end if;
  insert into public.webhook_deliveries as deliveries (store, webhook_id, topic)
  values (v_store, p_webhook_id, p_topic)
  on conflict (store, webhook_id) do update
    set attempts = deliveries.attempts + 1
  returning deliveries.id, deliveries.attempts, deliveries.status into v_delivery;
  if v_delivery.attempts > 1 and v_delivery.status = 'ok' then
    return jsonb_build_object('status', 'duplicate', 'delivery_id', v_delivery.id);
  end if;
  return app.process_delivery(v_delivery.id, v_store, p_topic, p_body);
end;
$$;
comment on function public.ingest_shopify_webhook is
'Takes in a Shopify webhook: four headers and the raw body. Returns {status, delivery_id, outcome, error}.

p_body is text, because PostgREST carries JSON. The UTF-8 bytes of p_body must be the bytes that Shopify signed. Nothing is written before the HMAC-SHA256 of the body matches the secret of the store.

status is ok, duplicate or dead_letter. A duplicate was applied before. A dead letter cannot be applied, but an Admin may replay it after a fix. Any other error is raised and rolls back everything, so that Shopify sends the webhook again.

Role: service_role. Errors: PAUSED, BAD_SIGNATURE.';
grant execute on function public.ingest_shopify_webhook to service_role;

create or replace function public.get_webhook_deliveries(
  p_store text default null, p_status text default null, p_limit integer default 50,
  p_before bigint default null
)
returns table (
  id bigint, store text, topic text, webhook_id text, status text, attempts integer,
  last_error text, reason text, can_replay boolean, received_at timestamptz,
  updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', p_store, true);
begin
  return query
  select
    deliveries.id, deliveries.store, deliveries.topic::text, deliveries.webhook_id::text,
    deliveries.status, deliveries.attempts, deliveries.last_error::text, deliveries.reason::text,
    deliveries.body is not null, deliveries.received_at, deliveries.updated_at
  from public.webhook_deliveries as deliveries
  where deliveries.store = any(v_caller.stores)
  and deliveries.status = coalesce(p_status, deliveries.status)
  and deliveries.id < coalesce(p_before, 9223372036854775807)
  order by deliveries.id desc
  limit least(greatest(p_limit, 1), 500);
end;
$$;
comment on function public.get_webhook_deliveries is
'Returns webhook deliveries, newest first, at most 500. For the next page, pass the last id as p_before.

p_status is ok, dead, or null for both.

Role: Admin or service_role. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_webhook_deliveries to authenticated, service_role;

create or replace function public.replay_webhook_delivery(p_id bigint)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', null, true);
  v_delivery record;
begin
  select deliveries.store, deliveries.topic, deliveries.status, deliveries.body into v_delivery
  from public.webhook_deliveries as deliveries
  where deliveries.id = p_id and deliveries.store = any(v_caller.stores) for update;
  if not found then
    perform app.not_found('delivery', 'delivery_id', p_id);
  end if;
  if v_delivery.status = 'ok' then
    return jsonb_build_object('status', 'duplicate', 'delivery_id', p_id);
  end if;
  if v_delivery.body is null then
    perform app.fail(
      'CONFLICT', 'Cannot replay this delivery. Its body was deleted after 30 days.',
      jsonb_build_object('delivery_id', p_id)
    );
  end if;
  update public.webhook_deliveries as deliveries
  set attempts = deliveries.attempts + 1
  where deliveries.id = p_id;
  perform app.audit('replay_webhook_delivery', v_delivery.store, p_id::text);
  return app.process_delivery(p_id, v_delivery.store, v_delivery.topic, v_delivery.body);
end;
$$;
comment on function public.replay_webhook_delivery is
'Applies a dead letter again, after its cause was fixed. Returns the same as ingest_shopify_webhook.

status is duplicate if the delivery is not dead.

Role: Admin or service_role. Errors: NOT_FOUND, CONFLICT (its body is no longer kept).';
grant execute on function public.replay_webhook_delivery to authenticated, service_role;

create or replace trigger webhook_deliveries_set_updated_at
before update on public.webhook_deliveries
for each row execute function app.set_updated_at();

select app.register_task('purge_deliveries', 'tick', 'purge_deliveries');
select app.register_hook('alerts', 50, 'delivery_alerts');

select app.assert_grants();
commit;
