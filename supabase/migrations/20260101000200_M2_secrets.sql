-- M2 secrets: the secrets of the stores, and the pause of webhooks.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';

-- Supabase keeps secrets in its Vault, so our owner needs the migration role's rights to the Vault
do $$
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    grant usage on schema vault to bakehouse_owner;
    grant select on vault.decrypted_secrets to bakehouse_owner;
    grant execute on function
    vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
    to bakehouse_owner;
  end if;
end;
$$;

set local role bakehouse_owner;

create table if not exists private.shop_tokens (
  store text not null references public.stores (code),
  kind text not null check (kind in ('webhook', 'token')),
  secret text not null check (length(secret) <= 500),
  updated_at timestamptz not null default app.now(),
  primary key (store, kind)
);
alter table private.shop_tokens enable row level security;
comment on table private.shop_tokens is
'The webhook secret and the Admin API token of each store. Empty where Supabase Vault keeps the secrets.';

create table if not exists app.ingest_pause (
  only_row boolean primary key default true check (only_row),
  until timestamptz,
  reason app.note not null check (btrim(reason) <> ''),
  since timestamptz not null default app.now()
);
alter table app.ingest_pause enable row level security;
comment on table app.ingest_pause is 'The pause of webhooks. No row means no pause.';
comment on column app.ingest_pause.until is
'The end of the pause. Null: the pause lasts until resume_ingest.';

do $$
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    create or replace function app.shop_secret(p_store text, p_kind text)
    returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
    as $body$
    begin
      return (
        select secrets.decrypted_secret
        from vault.decrypted_secrets as secrets
        where secrets.name = format('bakehouse_%s_%s', p_store, p_kind)
      );
    end;
    $body$;

    create or replace function app.store_shop_secret(p_store text, p_kind text, p_secret text)
    returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $body$
    declare
      v_name text := format('bakehouse_%s_%s', p_store, p_kind);
      v_id uuid := (
        select secrets.id from vault.decrypted_secrets as secrets where secrets.name = v_name
      );
    begin
      if v_id is null then
        perform vault.create_secret(p_secret, v_name);
      else
        perform vault.update_secret(v_id, p_secret);
      end if;
    end;
    $body$;
  else
    create or replace function app.shop_secret(p_store text, p_kind text)
    returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
    as $body$
    begin
      return (
        select tokens.secret from private.shop_tokens as tokens
        where tokens.store = p_store and tokens.kind = p_kind
      );
    end;
    $body$;

    create or replace function app.store_shop_secret(p_store text, p_kind text, p_secret text)
    returns void
    language sql volatile set search_path = pg_catalog, pg_temp
    as $body$
      insert into private.shop_tokens (store, kind, secret) values (p_store, p_kind, p_secret)
      on conflict (store, kind) do update
        set secret = excluded.secret, updated_at = excluded.updated_at;
    $body$;
  end if;
end;
$$;
comment on function app.shop_secret is
'Returns the secret of a store for a kind (webhook, token), or null if none is set.

Reads Supabase Vault under bakehouse_<store>_<kind>, or private.shop_tokens where there is no Vault.';
comment on function app.store_shop_secret is
'Stores the secret of a store for app.shop_secret, and replaces the previous secret.';

create or replace function app.is_plausible_secret(p_text text)
returns boolean
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select length(p_text) between 20 and 500 and p_text ~ '^[!-~]*$';
$$;
comment on function app.is_plausible_secret is
'Returns true if the text can be a Shopify secret: 20 to 500 visible characters, no spaces.';

create or replace function app.set_shop_secret(p_store text, p_kind text, p_secret text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin', p_store);
  if p_store is null or app.is_plausible_secret(p_secret) is not true then
    perform app.fail(
      'BAD_INPUT', 'Name a store and a secret of 20 to 500 visible characters without spaces.'
    );
  end if;
  perform app.store_shop_secret(p_store, p_kind, p_secret);
  perform app.audit('set_shop_secret', p_store, p_kind);
end;
$$;
comment on function app.set_shop_secret is
'Checks the caller and the secret, stores the secret, and adds an entry to the audit log without the secret.

The two public setters share this function. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT.';

create or replace function app.is_ingest_paused()
returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('bakehouse ingest'));
  return exists (
    select from app.ingest_pause as pause where coalesce(pause.until > app.now(), true)
  );
end;
$$;
comment on function app.is_ingest_paused is
'Returns true while webhooks are paused.

Takes a shared lock, so that pause_ingest waits for deliveries in progress.';

create or replace function app.pause_ingest(p_until timestamptz, p_reason text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select pg_advisory_xact_lock(hashtext('bakehouse ingest'));
  insert into app.ingest_pause (until, reason) values (p_until, p_reason)
  on conflict (only_row) do update
    set until = excluded.until, reason = excluded.reason, since = excluded.since;
  select app.audit(
    'pause_ingest', null, null, jsonb_build_object('until', p_until, 'reason', p_reason)
  );
$$;
comment on function app.pause_ingest is
'Pauses webhooks until a time, or until resume_ingest if p_until is null. Shopify delivers them again later.

Waits for deliveries in progress, so that none is half done during the pause.';

create or replace function app.resume_ingest()
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  delete from app.ingest_pause where only_row;
  if found then
    perform app.audit('resume_ingest', null, null);
  end if;
end;
$$;
comment on function app.resume_ingest is
'Ends the pause of webhooks. Does nothing without a pause.';

create or replace function app.pause_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'critical', 'WEBHOOKS_PAUSED', pause.since, null,
    format('Webhooks have been paused for over an hour: %s.', app.shorten(pause.reason)),
    'Run `bakehouse resume`. Shopify gives up after some hours, and can remove the subscription.'
  from app.ingest_pause as pause
  where coalesce(pause.until > app.now(), true)
  and pause.since not between app.now() - interval '1 hour' and app.now() + interval '1 minute'
  union all
  select
    'warning', 'PAUSE_EXPIRED', pause.until, null,
    format(
      'A pause of webhooks ended at its deadline, not by a command: %s.', app.shorten(pause.reason)
    ),
    'Check with `bakehouse log` if a run is unfinished. Then run `bakehouse resume`.'
  from app.ingest_pause as pause
  where pause.until <= app.now();
$$;
comment on function app.pause_alerts is
'Alerts: WEBHOOKS_PAUSED (for over an hour), PAUSE_EXPIRED (nobody ended the pause, but its deadline did).';

create or replace function public.set_shop_token(p_store text, p_token text)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.set_shop_secret(p_store, 'token', p_token);
end;
$$;
comment on function public.set_shop_token is
'Sets the Shopify Admin API token of a store. No RPC returns the token.

Role: Admin. Errors: BAD_INPUT (no such store; not 20 to 500 visible characters).';
grant execute on function public.set_shop_token to authenticated;

create or replace function public.set_webhook_secret(p_store text, p_secret text)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.set_shop_secret(p_store, 'webhook', p_secret);
end;
$$;
comment on function public.set_webhook_secret is
'Sets the secret that signs the webhooks of a store. No RPC returns the secret.

Role: Admin. Errors: BAD_INPUT (no such store; not 20 to 500 visible characters).';
grant execute on function public.set_webhook_secret to authenticated;

select app.register_advisory_lock(hashtext('bakehouse ingest'), 'the webhook switch');
select app.register_hook('alerts', 40, 'pause_alerts');

select app.assert_grants();
commit;
