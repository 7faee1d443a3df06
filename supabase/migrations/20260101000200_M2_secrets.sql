-- M2 secrets: the secrets of the shops, and the pause that holds webhooks back.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';

-- Supabase keeps secrets in its Vault: the migration role may use it and lends that to our owner
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
  secret text not null,
  updated_at timestamptz not null default app.now(),
  primary key (store, kind)
);
alter table private.shop_tokens enable row level security;
comment on table private.shop_tokens is
'The secret that signs a store''s webhooks, and its Admin API token. Empty where Supabase Vault keeps them.';

create table if not exists app.ingest_pause (
  only_row boolean primary key default true check (only_row),
  until timestamptz,
  reason text not null check (btrim(reason) <> ''),
  since timestamptz not null default app.now()
);
alter table app.ingest_pause enable row level security;
comment on table app.ingest_pause is 'Webhooks are held back while its one row says so.';
comment on column app.ingest_pause.until is 'When it ends by itself. Null: not before resume_ingest.';

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
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $body$
    begin
      insert into private.shop_tokens (store, kind, secret)
      values (p_store, p_kind, p_secret)
      on conflict (store, kind) do update
        set secret = excluded.secret, updated_at = excluded.updated_at;
    end;
    $body$;
  end if;
end;
$$;
comment on function app.shop_secret is
'A store''s secret of a kind (webhook, token), null when none is set: from Vault under bakehouse_<store>_<kind>, else from private.shop_tokens.';
comment on function app.store_shop_secret is
'Keep a store''s secret in place of the one before, where app.shop_secret finds it.';

create or replace function app.is_plausible_secret(p_text text)
returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return length(p_text) between 20 and 500 and p_text ~ '^[!-~]*$';
end;
$$;
comment on function app.is_plausible_secret is
'Whether this could be a secret of Shopify: 20 to 500 visible characters, no spaces.';

create or replace function app.set_shop_secret(p_store text, p_kind text, p_secret text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin', p_store);
  if p_store is null or app.is_plausible_secret(p_secret) is not true then
    perform app.fail(
      'BAD_INPUT', 'A store, and a secret of 20 to 500 visible characters without spaces.'
    );
  end if;
  perform app.store_shop_secret(p_store, p_kind, p_secret);
  perform app.audit('set_shop_secret', p_store, p_kind);
end;
$$;
comment on function app.set_shop_secret is
'The body of the two public setters: an Admin of the store, a plausible secret, and an audit row without it.';

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
'Whether webhooks are held back. Who asks is waited for by pause_ingest until their transaction ends.';

create or replace function app.pause_ingest(p_until timestamptz, p_reason text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(hashtext('bakehouse ingest'));
  insert into app.ingest_pause (until, reason) values (p_until, p_reason)
  on conflict (only_row) do update
    set until = excluded.until, reason = excluded.reason, since = excluded.since;
  perform app.audit(
    'pause_ingest', null, null, jsonb_build_object('until', p_until, 'reason', p_reason)
  );
end;
$$;
comment on function app.pause_ingest is
'Hold webhooks back until a moment (null: until resume_ingest), for a reason. Shopify delivers them again later.

Waits for deliveries under way: once it commits, none is half done.';

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
comment on function app.resume_ingest is 'Let webhooks in again. Harmless when they are.';

create or replace function public.set_shop_token(p_store text, p_token text)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.set_shop_secret(p_store, 'token', p_token);
end;
$$;
comment on function public.set_shop_token is
'Set a store''s Shopify Admin API token. No RPC gives it back.

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
'Set the secret that signs a store''s webhooks. No RPC gives it back.

Role: Admin. Errors: BAD_INPUT (no such store; not 20 to 500 visible characters).';
grant execute on function public.set_webhook_secret to authenticated;

select app.assert_grants();

commit;
