begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('reconcile');
  delete from app.hooks as hooks where hooks.function = 'location_alerts';
end if; end $$;
drop trigger if exists site_stock_enqueue_stock_push on public.site_stock;
drop function if exists
public.apply_reconcile, public.get_push_items, public.save_site_location,
public.get_site_locations, app.location_alerts, app.enqueue_reconcile, app.enqueue_stock_push;
drop table if exists public.site_locations;
commit;
