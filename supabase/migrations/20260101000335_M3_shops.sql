-- M3 shops: stock told to the shops, and corrected by what they count.
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
'Trigger: the shops have to hear how much of an item there is to sell. One waiting job per SKU; the worker reads the quantity when it runs.';

create or replace function app.enqueue_reconcile(p_store text)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from public.stores as stores
    where stores.code = p_store and stores.shop_domain is not null
  ) then
    return null;
  end if;
  return coalesce(
    app.enqueue('reconcile', jsonb_build_object('store', p_store), p_store), 0
  );
end;
$$;
comment on function app.enqueue_reconcile is
'Daily task: enqueues a comparison of the stock with the counts of the shop. Returns the job, 0 when one waits already, or null for a store without a shop.';

create or replace function public.get_push_items(p_skus text[])
returns table (sku text, available integer, shopify_variant_id text, shopify_product_ids text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('service_role');
  return query
  select
    items.sku, floor(greatest(items.ats, 0))::integer, items.shopify_variant_id,
    array_remove(array[items.shopify_product_id_1, items.shopify_product_id_2], null)
  from public.inventory_items as items
  where items.sku = any(p_skus) and items.kind <> 'component' and items.is_active
  order by items.sku;
end;
$$;
comment on function public.get_push_items is
'What the shops should show for these SKUs: whole pieces, never below 0.

A SKU that is gone, inactive or not for sale is left out: nothing to push.

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
    perform app.fail('BAD_INPUT', 'Counts are a list of {sku, available}.');
  end if;

  for v_count in
    select items.id, least(greatest(min((counts.one ->> 'available')::numeric), 0), 99999999)
      as available
    from jsonb_array_elements(p_counts) as counts (one)
    inner join public.inventory_items as items on items.sku = counts.one ->> 'sku'
    where items.kind <> 'component' and items.is_active
    group by items.id
    order by items.sku
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
      perform app.move_stock(
        v_count.id, v_count.available - v_item.ats, 'reconcile', 'reconcile'
      );
      v_corrected := v_corrected || jsonb_build_object(
        'sku', v_item.sku, 'was', v_item.ats, 'is', v_count.available
      );
    end if;
  end loop;
  return jsonb_build_object('corrected', v_corrected, 'same', v_same, 'waiting', v_waiting);
end;
$$;
comment on function public.apply_reconcile is
'Believe the shops: where [{sku, available}] differs from what is available to sell, correct the stock by a ledger row.

A negative count is 0. An item that moved within the hour, or whose push has not arrived, is left for next time: the shops do not know yet. Answers with {corrected: [{sku, was, is}], same, waiting}.

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
