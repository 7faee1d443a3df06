-- M3 counting: change stock by hand, and read the stock and the ledger.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.adjust_stock(
  p_kind text, p_item_id uuid, p_change numeric, p_reason text, p_reference text,
  p_created_by text, p_site text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor');
  v_site text := app.require_site(p_site);
  v_before numeric;
  v_title text;
  v_alt_title text;
begin
  if nullif(p_created_by, '') <> v_caller.user_id::text then
    perform app.fail(
      'PERMISSION_DENIED', 'p_created_by must be your own account. Leave p_created_by out.'
    );
  end if;
  perform app.check_length('p_reason', p_reason, 500);
  perform app.check_length('p_reference', p_reference, 200);
  select items.title, items.alt_title into v_title, v_alt_title
  from public.inventory_items as items
  where items.id = p_item_id and items.kind = p_kind;
  if not found then
    perform app.not_found(p_kind, 'item_id', p_item_id);
  end if;
  v_before := (app.lock_stock(p_item_id, v_site)).on_hand;
  perform app.move_stock(
    p_item_id, p_change, 'adjust', p_reason, p_reference, p_site => v_site
  );
  return jsonb_build_object(
    'success', true, 'title', v_title, 'alt_title', v_alt_title,
    'before', v_before, 'after', v_before + p_change, 'change', p_change
  );
end;
$$;
comment on function app.adjust_stock is
'Changes the stock of an item at a site by hand, for a Supervisor. Returns {success, title, alt_title, before, after, change}.

p_item_id must be an item of p_kind. after is the stock before the holds of waiting orders are filled.

Errors: PERMISSION_DENIED (p_created_by is not the caller), NOT_FOUND, BAD_INPUT (also: no site), CONFLICT (below zero).';

create or replace function public.adjust_component_stock(
  p_component_id uuid, p_change numeric, p_reason text default null, p_reference text default null,
  p_created_by text default null, p_site text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select stock.done - '{title,alt_title}'::text[]
    || jsonb_build_object('component', stock.done -> 'title')
  from app.adjust_stock(
    'component', p_component_id, p_change, p_reason, p_reference, p_created_by, p_site
  ) as stock (done);
$$;
comment on function public.adjust_component_stock is
'Changes the stock of a component by hand. Returns {success, component, before, after, change}.

p_change is added to the stock. A negative number takes stock away. p_created_by may name only the caller. Without p_site, the caller must have one site.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the stock would go below zero).';
grant execute on function public.adjust_component_stock to authenticated;

create or replace function public.adjust_accessory_stock(
  p_accessory_id uuid, p_change numeric, p_reason text default null, p_reference text default null,
  p_created_by text default null, p_site text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select stock.done - '{title,alt_title}'::text[] || jsonb_build_object(
    'accessory', stock.done -> 'title',
    'needs_sync', (stock.done -> 'before' > '0') <> (stock.done -> 'after' > '0')
  )
  from app.adjust_stock(
    'accessory', p_accessory_id, p_change, p_reason, p_reference, p_created_by, p_site
  ) as stock (done);
$$;
comment on function public.adjust_accessory_stock is
'Changes the stock of an accessory by hand. Returns {success, accessory, before, after, change, needs_sync}.

needs_sync is true when the accessory ran out or is in stock again. Every change for an active accessory queues a push to the shops. p_created_by may name only the caller. Without p_site, the caller must have one site.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the stock would go below zero).';
grant execute on function public.adjust_accessory_stock to authenticated;

create or replace function public.adjust_cake_topper_stock(
  p_topper_id uuid, p_change numeric, p_reason text default null, p_reference text default null,
  p_created_by text default null, p_site text default null
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'success', true, 'old_stock', stock.done -> 'before', 'new_stock', stock.done -> 'after',
    'name_1', stock.done -> 'title', 'name_2', stock.done -> 'alt_title'
  )
  from app.adjust_stock(
    'topper', p_topper_id, p_change, p_reason, p_reference, p_created_by, p_site
  ) as stock (done);
$$;
comment on function public.adjust_cake_topper_stock is
'Changes the stock of a cake topper by hand. Returns {success, old_stock, new_stock, name_1, name_2}.

p_created_by may name only the caller. Without p_site, the caller must have one site.

Role: Supervisor. Errors: BAD_INPUT, NOT_FOUND, CONFLICT (the stock would go below zero).';
grant execute on function public.adjust_cake_topper_stock to authenticated;

create or replace function public.set_stock_buffer(
  p_item_id uuid, p_buffer numeric, p_site text default null
)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_site text;
begin
  perform app.require('Admin');
  v_site := app.require_site(p_site);
  perform app.check_quantity(p_buffer);
  perform app.lock_stock(p_item_id, v_site);
  update public.site_stock as stock
  set buffer = coalesce(p_buffer, 0)
  where stock.item_id = p_item_id and stock.site = v_site;
  perform app.audit(
    'set_stock_buffer', null, p_item_id::text,
    jsonb_build_object('buffer', p_buffer, 'site', v_site)
  );
end;
$$;
comment on function public.set_stock_buffer is
'Sets how much of an item at a site is kept back from the shops. Null sets 0. Without p_site, the caller must have one site. Audited.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.set_stock_buffer to authenticated;

create or replace function public.get_inventory_status(
  p_search text default null, p_site text default null
)
returns table (
  item_id uuid, sku text, title text, kind text, stock numeric, reserved numeric, buffer numeric,
  ats numeric, min_stock numeric, is_low_stock boolean, site text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select app.check_length('p_search', p_search, 200);
  select
    items.id, items.sku, items.title, items.kind, stock.on_hand, stock.reserved, stock.buffer,
    stock.ats, items.min_stock::numeric, stock.on_hand < items.min_stock, stock.site
  from public.inventory_items as items
  inner join app.stock_at(app.require_sites(p_site)) as stock on stock.item_id = items.id
  where items.is_active
  and strpos(
    lower(concat_ws(' ', items.sku, items.title, items.alt_title)), lower(coalesce(p_search, ''))
  ) > 0
  order by items.title, items.id;
$$;
comment on function public.get_inventory_status is
'Returns every active item with its stock, open holds, buffer and the quantity available to sell.

p_search looks in SKU and names. p_site names a site. Otherwise the stock is the total of all sites of the caller, and with several sites the column site is null.

Role: Staff. Errors: BAD_INPUT (p_search has more than 200 characters, no such site).';
grant execute on function public.get_inventory_status to authenticated;

create or replace function public.get_stock_transactions(
  p_table_name text default null, p_item_id uuid default null, p_limit integer default 100,
  p_site text default null
)
returns table (
  id bigint, table_name text, item_id uuid, item_name text, change_amount numeric,
  stock_before numeric, stock_after numeric, reason text, reference text, created_by text,
  created_at timestamptz, site text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff');
  v_sites text[] := app.require_sites(p_site);
begin
  if p_table_name not in ('components', 'accessories', 'cake_toppers') then
    perform app.fail(
      'BAD_INPUT', 'p_table_name must be components, accessories or cake_toppers.',
      jsonb_build_object('table_name', p_table_name)
    );
  end if;
  return query
  select
    txn.id, names.table_name, txn.item_id, items.title::text, txn.change_amount,
    txn.stock_before::numeric, txn.stock_after::numeric, coalesce(txn.reason, txn.kind)::text,
    coalesce(
      txn.reference, case when txn.store = any(v_caller.stores) then txn.order_gid end
    )::text,
    coalesce(staff.full_name, txn.actor_kind), txn.at_ts, txn.site
  from public.inventory_txn as txn
  inner join public.inventory_items as items on items.id = txn.item_id
  inner join (
    values ('component', 'components'), ('accessory', 'accessories'), ('topper', 'cake_toppers')
  ) as names (kind, table_name) on names.kind = items.kind
  left join public.staff_shared as staff on staff.user_id = txn.actor_id
  where txn.site = any(v_sites)
  and (p_item_id is null or txn.item_id = p_item_id)
  and (p_table_name is null or names.table_name = p_table_name)
  order by txn.id desc
  limit least(greatest(coalesce(p_limit, 100), 1), 1000);
end;
$$;
comment on function public.get_stock_transactions is
'Returns the ledger, newest first, at most 1000 rows.

p_item_id limits the list to one item, p_table_name to one kind of item, p_site to one site of the caller. A site may serve several stores, so the list has the changes of all of them. site is the site of the row. reference names an order of a store of the caller, and is null for an order of another store.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.get_stock_transactions to authenticated;

create or replace function public.transfer_stock(
  p_item_id uuid, p_from text, p_to text, p_quantity numeric, p_reason text default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_reference text := 'transfer-' || gen_random_uuid();
  v_site text;
  v_from numeric;
  v_to numeric;
begin
  perform app.require('Supervisor');
  foreach v_site in array array[p_from, p_to] loop
    perform app.require_sites(coalesce(v_site, ''));
  end loop;
  perform app.check_length('p_reason', p_reason, 500);
  if p_from = p_to or coalesce(app.check_quantity(p_quantity), 0) = 0 then
    perform app.fail(
      'BAD_INPUT', 'A transfer needs two sites and a quantity above 0.',
      jsonb_build_object('from', p_from, 'to', p_to, 'quantity', p_quantity)
    );
  end if;
  perform app.lock_stock(p_item_id, least(p_from, p_to));
  perform app.lock_stock(p_item_id, greatest(p_from, p_to));
  v_from := app.move_stock(
    p_item_id, -p_quantity, 'transfer', p_reason, v_reference, p_site => p_from
  );
  v_to := app.move_stock(p_item_id, p_quantity, 'transfer', p_reason, v_reference, p_site => p_to);
  return jsonb_build_object(
    'reference', v_reference, 'item_id', p_item_id, 'quantity', p_quantity,
    'from', jsonb_build_object('site', p_from, 'stock', v_from),
    'to', jsonb_build_object('site', p_to, 'stock', v_to)
  );
end;
$$;
comment on function public.transfer_stock is
'Moves stock of an item from one site to another. Returns {reference, item_id, quantity, from, to}.

Writes two rows of the ledger with one reference. from and to are {site, stock}. The stock that arrives fills the holds of waiting orders there first.

Role: Supervisor. Errors: BAD_INPUT (a site of another store, one site only, a quantity of 0), NOT_FOUND, CONFLICT (not enough stock).';
grant execute on function public.transfer_stock to authenticated;

select app.assert_grants();
commit;
