-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.replay_webhook_delivery, public.get_webhook_deliveries, public.ingest_shopify_webhook,
app.purge_deliveries, app.process_delivery, app.ingest_order, app.edit_units, app.unit_view,
app.move_lead, app.cancel_units, app.add_units, app.line_id, app.reconsider, app.attention,
app.read_json;
do $$
begin
  if to_regclass('public.orders') is not null then
    alter table public.orders drop constraint if exists orders_shopify_order_fkey;
  end if;
end;
$$;
drop table if exists public.webhook_deliveries, public.shopify_orders;

commit;
