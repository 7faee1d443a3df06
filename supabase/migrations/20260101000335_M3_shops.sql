-- M3 shops: push the stock to the shops, and correct the stock to their counts.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.enqueue_stock_push()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.enqueue('inventory_push', jsonb_build_object('sku', new.sku), new.sku);
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

create or replace function public.get_push_items(p_skus text[])
returns table (sku text, available integer, shopify_variant_id text, shopify_product_ids text[])
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('service_role');
  select
    items.sku, floor(greatest(items.ats, 0))::integer, items.shopify_variant_id,
    array_remove(array[items.shopify_product_id_1, items.shopify_product_id_2], null)
  from public.inventory_items as items
  where items.sku = any(p_skus) and items.kind <> 'component' and items.is_active
  order by items.sku;
$$;
comment on function public.get_push_items is
'Returns the quantity that the shops should show for each SKU: whole pieces, never below 0.

Skips SKUs that do not exist, are inactive or belong to components.

Role: service_role.';
grant execute on function public.get_push_items to service_role;

create or replace function public.apply_reconcile(p_counts jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count record;
  v_item record;
  v_corrected jsonb := '[]'::jsonb;
  v_same integer := 0;
  v_waiting integer := 0;
begin
  perform app.require('service_role');
  if jsonb_typeof(p_counts) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_counts) as counts (one)
    where jsonb_typeof(counts.one -> 'sku') is distinct from 'string'
    or jsonb_typeof(counts.one -> 'available') is distinct from 'number'
  ) then
    perform app.fail('BAD_INPUT', 'p_counts must be a list of {sku: text, available: number}.');
  end if;
  for v_count in
    select items.id, least(greatest(min((counts.one ->> 'available')::numeric), 0), 99999999)
      as available
    from jsonb_array_elements(p_counts) as counts (one)
    inner join public.inventory_items as items on items.sku = counts.one ->> 'sku'
    where items.kind <> 'component' and items.is_active
    group by items.id
    order by items.id
  loop
    select items.sku, items.ats into v_item
    from public.inventory_items as items where items.id = v_count.id for no key update;
    if floor(greatest(v_item.ats, 0)) = floor(v_count.available) then
      v_same := v_same + 1;
    elsif exists (
      select from public.inventory_txn as txn
      where txn.item_id = v_count.id and txn.at_ts > app.now() - interval '1 hour'
    ) or exists (
      select from public.work_queue as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_item.sku
    ) or exists (
      select from public.work_dead as jobs
      where jobs.topic = 'inventory_push' and jobs.dedupe_key = v_item.sku
    ) then
      v_waiting := v_waiting + 1;
    else
      perform app.move_stock(v_count.id, v_count.available - v_item.ats, 'reconcile', 'reconcile');
      v_corrected := v_corrected || jsonb_build_object(
        'sku', v_item.sku, 'was', v_item.ats, 'is', v_count.available
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
'Corrects the stock of each item to the count of a shop: [{sku, available}]. Returns {corrected: [{sku, was, is}], same, waiting}.

Each correction writes a ledger row. A negative count means 0. Of several counts for one SKU, the lowest is used. Skips components, inactive items and unknown SKUs. Skips an item that moved within the last hour, or whose push waits or is dead. The shops do not know the new stock yet.

Role: service_role. Errors: BAD_INPUT.';
grant execute on function public.apply_reconcile to service_role;

create or replace trigger inventory_items_enqueue_stock_push
after update of on_hand, reserved, buffer on public.inventory_items
for each row
when (old.ats is distinct from new.ats and new.kind <> 'component' and new.is_active)
execute function app.enqueue_stock_push();

select app.register_task('reconcile', 'day', 'enqueue_reconcile');

select app.assert_grants();
commit;
