begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('purge_deliveries');
  delete from app.hooks as hooks where hooks.function = 'delivery_alerts';
end if; end $$;
drop function if exists
public.replay_webhook_delivery, public.get_webhook_deliveries, public.ingest_shopify_webhook,
app.delivery_alerts, app.purge_deliveries, app.process_delivery;
drop table if exists public.webhook_deliveries;
commit;
