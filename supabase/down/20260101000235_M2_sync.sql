begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.import_shopify_order, public.test_admin_token, public.get_sync_log, public.finish_sync_run,
public.start_sync_run;
drop table if exists public.sync_runs;
commit;
