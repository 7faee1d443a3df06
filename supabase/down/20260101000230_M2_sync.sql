-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.import_shopify_order(text, jsonb), public.sync_shopify_orders(text),
public.test_admin_token(text, text), public.get_sync_log(text, integer),
public.finish_sync_run(uuid, text, integer, integer, integer, integer, integer, text),
public.start_sync_run(text, text);
drop table if exists public.sync_runs;

commit;
