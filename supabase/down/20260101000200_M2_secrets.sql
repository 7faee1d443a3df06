begin;
set local lock_timeout = '5s';
do $$ begin if to_regclass('vault.decrypted_secrets') is not null then
  revoke execute on function
  vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
  from bakehouse_owner;
  revoke select on vault.decrypted_secrets from bakehouse_owner;
  revoke usage on schema vault from bakehouse_owner;
end if; end $$;
set local role bakehouse_owner;
do $$ begin if to_regclass('app.hooks') is not null then
  delete from app.hooks as hooks where hooks.function = 'pause_alerts';
end if; end $$;
do $$ begin if to_regclass('app.advisory_locks') is not null then
  delete from app.advisory_locks as locks where locks.name = 'the webhook switch';
end if; end $$;
drop function if exists app.pause_alerts,
public.set_webhook_secret, public.set_shop_token, app.resume_ingest, app.pause_ingest,
app.is_ingest_paused, app.set_shop_secret, app.is_plausible_secret, app.store_shop_secret,
app.shop_secret;
drop table if exists app.ingest_pause, private.shop_tokens;
commit;
