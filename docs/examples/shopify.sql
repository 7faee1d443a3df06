-- Chapter 8: Shopify

-- ingest_shopify_webhook as service_role
-- p_hmac is the base64 HMAC-SHA256 of the body, here with the secret of the dev data
select public.ingest_shopify_webhook(
  'bannos.myshopify.com', 'orders/create', 'delivery-1',
  'PlbLqevpsUv2h/+UrgeUlJreO2K9+r66ZfsclPoZBT8=',
  '{"id": 5800000018617, "order_number": 18617, "line_items": '
  '[{"id": 1, "title": "Birthday Cake", "quantity": 1, "price": "95.00"}]}'
);

-- get_webhook_deliveries as Admin
select delivery.id, delivery.topic, delivery.last_error
from public.get_webhook_deliveries('bannos', p_status => 'dead') as delivery;

-- replay_webhook_delivery as service_role
select public.ingest_shopify_webhook(
  'bannos.myshopify.com', 'orders/create', 'delivery-2',
  'P29M310z1O5+w6y53phfoynNwuGkZrLuG8NVrwTKoEY=', 'not an order'
);
select public.replay_webhook_delivery(delivery.id)
from public.get_webhook_deliveries('bannos', p_status => 'dead') as delivery;

-- set_webhook_secret as Admin
select public.set_webhook_secret('bannos', 'the-signing-secret-that-Shopify-shows');

-- set_shop_token as Admin
select public.set_shop_token('bannos', 'the-token-of-the-admin-api');

-- test_admin_token as Admin
select public.test_admin_token('bannos', 'the-token-of-the-admin-api');

-- sync_shopify_orders as Admin
select public.set_shop_token('bannos', 'the-token-of-the-admin-api');
select public.sync_shopify_orders('bannos');

-- get_sync_log as Admin
select run.sync_type, run.status, run.orders_imported
from public.get_sync_log('bannos', p_limit => 5) as run;

-- start_sync_run as service_role
select public.start_sync_run('bannos', 'sync_orders');

-- finish_sync_run as service_role
select public.finish_sync_run(run.id, 'success', p_orders_imported => 12, p_orders_skipped => 3)
from public.start_sync_run('bannos', 'sync_orders') as run (id);

-- import_shopify_order as service_role
select public.import_shopify_order('bannos', '{
  "id": 5800000018617, "order_number": 18617,
  "line_items": [{"id": 1, "title": "Birthday Cake", "quantity": 1, "price": "95.00"}]
}');
