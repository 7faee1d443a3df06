-- M4 fetch: open orders that the worker fetches from Shopify.
-- Needs: M3

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.sync_shopify_orders(p_store text)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_run uuid;
begin
  perform app.require('Admin', p_store);
  if p_store is null then
    perform app.fail('BAD_INPUT', 'p_store must name a store.');
  elsif app.shop_secret(p_store, 'token') is null then
    perform app.fail(
      'CONFLICT', 'The store has no Shopify token. Call set_shop_token first.',
      jsonb_build_object('store', p_store)
    );
  end if;
  v_run := public.start_sync_run(p_store, 'sync_orders');
  perform app.enqueue(
    'shopify_sync', jsonb_build_object('store', p_store, 'run_id', v_run), v_run::text
  );
  return jsonb_build_object(
    'success', true, 'run_id', v_run, 'message', 'Started; get_sync_log shows how it ends.'
  );
end;
$$;
comment on function public.sync_shopify_orders is
'Enqueues a fetch of the open orders of a store from Shopify. Returns {success, run_id, message}.

Role: Admin. Errors: BAD_INPUT (no such store), CONFLICT (no token; one is running).';
grant execute on function public.sync_shopify_orders to authenticated;

select app.assert_grants();
commit;
