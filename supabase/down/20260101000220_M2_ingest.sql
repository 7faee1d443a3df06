-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.replay_webhook_delivery(bigint),
public.get_webhook_deliveries(text, text, integer, bigint),
public.ingest_shopify_webhook(text, text, text, text, text), app.purge_deliveries(),
app.process_delivery(bigint, text, text, text), app.ingest_order(text, text, jsonb),
app.edit_units(text, jsonb, jsonb), app.unit_view(jsonb, bigint, boolean),
app.move_lead(text, text), app.cancel_units(text, text[], text, text),
app.add_units(text, jsonb, jsonb), app.line_id(jsonb),
app.reconsider(text, text[], text[]), app.attention(jsonb), app.read_json(text);
do $$
begin
  if to_regclass('public.orders') is not null then
    alter table public.orders drop constraint if exists orders_shopify_order_fkey;
  end if;
end;
$$;
drop table if exists public.webhook_deliveries, public.shopify_orders;

commit;
