-- M3 shops: push the stock to the shops, and correct the stock to their counts.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.site_locations (
  store text not null references public.stores (code) on delete cascade,
  site text not null references public.sites (code),
  location_id app.code not null check (location_id ~ '^gid://shopify/Location/[1-9][0-9]{0,18}$'),
  primary key (store, site),
  unique (store, location_id)
);
create index if not exists site_locations_site_idx on public.site_locations (site);
alter table public.site_locations enable row level security;
comment on table public.site_locations is
'The location of a shop that shows the stock of a site. A location without a row is never written to.';

create or replace function app.enqueue_stock_push()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.enqueue('inventory_push', jsonb_build_object('sku', items.sku), items.sku)
  from public.inventory_items as items
  where items.id = new.item_id and items.kind <> 'component' and items.is_active;
  return null;
end;
$$;
comment on function app.enqueue_stock_push is
'Trigger: enqueues a push of the available stock of an item to the shops. One job per SKU waits at a time. The worker reads the quantity when the job runs.';

create or replace function app.enqueue_reconcile(p_store text)
returns bigint
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select coalesce(app.enqueue('reconcile', jsonb_build_object('store', p_store), p_store), 0)
  from public.stores as stores where stores.code = p_store and stores.shop_domain is not null;
$$;
comment on function app.enqueue_reconcile is
'Daily task: enqueues a comparison of the stock with the counts of the shop. Returns the id of the job. Returns 0 when such a job waits already, and null for a store without a shop.';

create or replace function app.location_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'warning', 'NO_LOCATION', stores.updated_at, stores.code,
    format('The shop of %s gets no stock, because none of its locations is mapped.', stores.code),
    'Give each site of the store its location in Shopify: save_site_location.'
  from public.stores as stores
  where app.shop_secret(stores.code, 'token') is not null and not exists (
    select from public.site_locations as places where places.store = stores.code
  );
$$;
comment on function app.location_alerts is
'Alerts: NO_LOCATION, a store with a token for Shopify and no mapped location.';

create or replace function public.get_site_locations(p_store text default null)
returns table (store text, site text, location_id text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin', p_store, true);
begin
  return query
  select places.store, places.site, places.location_id::text
  from public.site_locations as places
  where places.store = any(v_caller.stores) and exists (
    select from public.store_sites as rules
    where rules.store = places.store and rules.site = places.site
  )
  order by places.store, places.site;
end;
$$;
comment on function public.get_site_locations is
'Returns the location of each shop that shows the stock of a site, by store and site. p_store limits the list to one store. Skips sites that the store no longer has.

Role: Admin or service_role. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_site_locations to authenticated, service_role;

create or replace function public.save_site_location(
  p_store text, p_site text, p_location_id text
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_location text;
begin
  perform app.require('Admin', coalesce(p_store, ''));
  v_location := 'gid://shopify/Location/' || app.shopify_id(p_location_id, 'Location');
  if v_location is null and p_location_id <> '' then
    perform app.fail(
      'BAD_INPUT', 'p_location_id must be the id of a location of Shopify: digits, or its gid.',
      jsonb_build_object('location_id', p_location_id)
    );
  elsif not exists (
    select from public.store_sites as rules where rules.store = p_store and rules.site = p_site
  ) then
    perform app.fail(
      'BAD_INPUT', format('Store %s has no such site. DETAIL lists its sites.', p_store),
      jsonb_build_object('site', p_site, 'sites', app.sites_of(array[p_store]))
    );
  end if;
  delete from public.site_locations as places
  where places.store = p_store and places.site = p_site and v_location is null;
  begin
    insert into public.site_locations (store, site, location_id)
    select p_store, p_site, v_location where v_location is not null
    on conflict (store, site) do update set location_id = excluded.location_id;
  exception
    when unique_violation then
      perform app.fail(
        'CONFLICT', 'Another site has this location. Remove the location there first.',
        jsonb_build_object('location_id', v_location)
      );
  end;
  perform app.enqueue_many(
    'inventory_push', coalesce(array_agg(jsonb_build_object('sku', items.sku)), '{}'),
    coalesce(array_agg(items.sku::text), '{}')
  )
  from public.inventory_items as items
  where items.kind <> 'component' and items.is_active and v_location is not null;
  perform app.audit(
    'save_site_location', p_store, p_site, jsonb_build_object('location_id', v_location)
  );
  return v_location;
end;
$$;
comment on function public.save_site_location is
'Sets the location of a shop that shows the stock of a site. Returns its gid.

p_location_id is the number of the location in Shopify, or its gid. Null removes the location, and the shop then keeps its last count. A location shows one site. Queues a push of every item. Audited.

Role: Admin. Errors: BAD_INPUT (no such store, a site of another store, no id of a location), CONFLICT (another site has the location).';
grant execute on function public.save_site_location to authenticated;

create or replace function public.get_push_items(p_skus text[], p_site text default null)
returns table (
  sku text, available integer, shopify_variant_id text, shopify_product_ids text[], store text,
  location_id text, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('service_role');
  select
    items.sku, floor(greatest(coalesce(stock.ats, 0), 0))::integer, items.shopify_variant_id,
    array_remove(array[items.shopify_product_id_1, items.shopify_product_id_2], null),
    places.store, places.location_id, places.site
  from public.inventory_items as items
  inner join public.get_site_locations() as places
    on places.site = any(app.require_sites(p_site))
  left join public.site_stock as stock
    on stock.item_id = items.id and stock.site = places.site
  where items.sku = any(p_skus) and items.kind <> 'component' and items.is_active
  order by items.sku, places.store, places.site;
$$;
comment on function public.get_push_items is
'Returns the quantity that each location of the shops should show for each SKU: whole pieces, never below 0.

One row for each SKU and mapped location (save_site_location), with the stock of the site of the location. Skips SKUs that do not exist, are inactive or belong to components.

Role: service_role. Errors: BAD_INPUT (no such site).';
grant execute on function public.get_push_items to service_role;

create or replace function public.apply_reconcile(p_counts jsonb, p_site text default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_site text;
  v_count record;
  v_ats numeric;
  v_corrected jsonb := '[]'::jsonb;
  v_same integer := 0;
  v_waiting integer := 0;
begin
  perform app.require('service_role');
  v_site := app.require_site(p_site);
  if jsonb_typeof(p_counts) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_counts) as counts (one)
    where jsonb_typeof(counts.one -> 'sku') is distinct from 'string'
    or jsonb_typeof(counts.one -> 'available') is distinct from 'number'
  ) then
    perform app.fail('BAD_INPUT', 'p_counts must be a list of {sku: text, available: number}.');
  end if;
  for v_count in
    select items.id, items.sku, least(greatest(min((counts.one ->> 'available')::numeric), 0), 99999999)
      as available
    from jsonb_array_elements(p_counts) as counts (one)
    inner join public.inventory_items as items on items.sku = counts.one ->> 'sku'
    where items.kind <> 'component' and items.is_active
    group by items.id
    order by items.sku
  loop
    v_ats := (app.lock_stock(v_count.id, v_site)).ats;
    if floor(greatest(v_ats, 0)) = floor(v_count.available) then
      v_same := v_same + 1;
    elsif exists (
      select from public.inventory_txn as txn
      where txn.item_id = v_count.id and txn.site = v_site and txn.at_ts > app.now() - interval '1 hour'
    ) or exists (
      select from public.work_queue as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_count.sku
    ) or exists (
      select from public.work_dead as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_count.sku
    ) then
      v_waiting := v_waiting + 1;
    else
      perform app.move_stock(
        v_count.id, v_count.available - v_ats, 'reconcile', 'reconcile', p_site => v_site
      );
      v_corrected := v_corrected || jsonb_build_object(
        'sku', v_count.sku, 'was', v_ats, 'is', v_count.available
      );
    end if;
  end loop;
  return jsonb_build_object(
    'corrected', array(
      select made.one from jsonb_array_elements(v_corrected) as made (one)
      order by made.one ->> 'sku'
    ),
    'same', v_same, 'waiting', v_waiting
  );
end;
$$;
comment on function public.apply_reconcile is
'Corrects the stock of each item at a site to the count of a shop there: [{sku, available}]. Returns {corrected: [{sku, was, is}], same, waiting}.

Each correction writes a ledger row. A negative count means 0. Of several counts for one SKU, the lowest is used. Skips components, inactive items and unknown SKUs. Skips an item that moved within the last hour, or whose push waits or is dead. The shops do not know the new stock yet. Without p_site, the stores must have one site together.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.apply_reconcile to service_role;

create or replace trigger site_stock_enqueue_stock_push
after update of on_hand, reserved, buffer on public.site_stock
for each row when (old.ats is distinct from new.ats)
execute function app.enqueue_stock_push();

select app.register_hook('alerts', 70, 'location_alerts');
select app.register_task('reconcile', 'day', 'enqueue_reconcile');

select app.assert_grants();
commit;
