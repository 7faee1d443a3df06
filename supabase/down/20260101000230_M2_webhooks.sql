begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.replay_webhook_delivery, public.get_webhook_deliveries, public.ingest_shopify_webhook,
app.purge_deliveries, app.process_delivery;
drop table if exists public.webhook_deliveries;

commit;
