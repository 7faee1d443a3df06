-- M5 scan: find the one order that a scan means.
-- Needs: M4

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.resolve_scan(p_caller app.caller, p_scan text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- a new plan in each call takes ten times as long
as $$
declare
  v_scan text := btrim(p_scan, E' \t\r\n*'); -- Code 39 begins and ends with an asterisk
  v_read jsonb;
  v_part text[]; -- store, letter, digits, unit
  v_stores text[];
  v_number integer;
  v_ids text[];
  v_id text;
  v_fits jsonb;
begin
  if starts_with(v_scan, '{') then
    v_read := app.read_json(v_scan);
    v_scan := coalesce(v_read ->> 'order_id', v_read ->> 'id', v_read ->> 'barcode');
  elsif v_scan ~* '^https?://' then
    v_scan := replace(coalesce(
      substring(v_scan from '[?&](?:order_id|id|scan|barcode)=([^&#]+)'),
      substring(v_scan from '^[^?#]*/([^/?#]+)/?(?:[?#]|$)')
    ), '%23', '#');
  end if;

  v_part := regexp_match(
    v_scan, '^#?(?:([a-z][a-z0-9_-]*)-)?([a-z]?)([0-9]{1,20})(?:-([a-z]{1,3}))?$', 'i'
  );
  select array_agg(stores.code) into v_stores
  from public.stores as stores
  where coalesce(lower(v_part[1]), stores.code)
    in (stores.code, split_part(stores.shop_domain, '.', 1))
  and upper(v_part[2]) in ('', stores.scan_letter);
  if v_stores is null then
    perform app.fail(
      'BAD_INPUT', 'The scan is not a barcode of an order. Scan the label of an order.',
      jsonb_build_object('scan', left(p_scan, 100))
    );
  end if;
  if (v_part[1] <> '' or v_part[2] <> '') and not v_stores <@ p_caller.stores then
    perform app.fail(
      'PERMISSION_DENIED', 'Your account may not act in the store of this barcode.',
      jsonb_build_object('scan', v_scan, 'stores', p_caller.stores)
    );
  end if;

  v_ids := array(
    select concat_ws(
      '-', named.store, case when v_part[1] <> '' then upper(v_part[2]) else '' end || v_part[3],
      upper(v_part[4])
    )
    from unnest(v_stores) as named (store)
  );
  if v_part[1] <> '' then -- a full id finds its order, even if other orders have the number
    select orders.id into v_id
    from public.orders as orders where orders.store = any(v_stores) and orders.id = any(v_ids);
    if found then
      return v_id;
    end if;
  end if;

  v_number := case when v_part[3]::numeric < 2147483648 then v_part[3]::integer end;
  select jsonb_agg(fits.facts order by length(fits.id), fits.id) into v_fits
  from (
    select
      orders.id, orders.cancelled_at is null as lives,
      bool_or(orders.cancelled_at is null) over () as one_lives,
      jsonb_build_object(
        'id', orders.id, 'product_title', orders.product_title, 'size', orders.size,
        'stage', orders.stage
      ) as facts
    from public.orders as orders
    where orders.store = any(v_stores) and orders.store = any(p_caller.stores)
    and (orders.shopify_order_number = v_number or orders.id = any(v_ids))
    and (v_part[4] is null or orders.suffix = upper(v_part[4]))
  ) as fits
  where fits.lives = fits.one_lives;
  if v_fits is null then
    perform app.not_found('order', 'scan', v_scan);
  end if;
  if jsonb_array_length(v_fits) > 1 then
    perform app.fail(
      'AMBIGUOUS_SCAN', format('%s matches several orders. Scan the label of one.', v_scan),
      jsonb_build_object('scan', v_scan, 'candidates', v_fits)
    );
  end if;
  return v_fits #>> '{0,id}';
end;
$$;
comment on function app.resolve_scan is
'Returns the id of the one order that a scan means, in the stores of the caller.

Reads ids (bannos-18617-A, also with the store as spelled in the shop domain), dockets (#B18617-A, *B18617), plain numbers, and JSON or URLs with one of these. Ignores case and spaces at the ends. An id finds exactly that order. A number finds every unit with this number. A cancelled unit counts only if no other unit matches. Errors: PERMISSION_DENIED (another store), BAD_INPUT (not a scan), NOT_FOUND, AMBIGUOUS_SCAN.';

create or replace function public.get_order_for_scan(
  p_scan text, out id text, out shopify_order_number integer, out human_id text, out suffix text,
  out customer_name text, out product_title text, out size text, out notes text, out due_date date,
  out delivery_method text, out stage public.stage_type, out priority text, out storage text,
  out store text, out filling_start_ts timestamptz, out filling_complete_ts timestamptz,
  out covering_start_ts timestamptz, out covering_complete_ts timestamptz,
  out decorating_start_ts timestamptz, out decorating_complete_ts timestamptz,
  out packing_start_ts timestamptz, out packing_complete_ts timestamptz,
  out cancelled_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_caller app.caller := app.require('Staff');
  v_id text := app.resolve_scan(v_caller, p_scan);
  v_store text := app.store_of(v_id);
begin
  select
    orders.id, orders.shopify_order_number, orders.human_id, orders.suffix, contacts.customer_name,
    orders.product_title, orders.size, orders.notes, orders.due_date, orders.delivery_method,
    orders.stage, app.priority_label(orders.priority), orders.storage, orders.store,
    orders.filling_start_ts, orders.filling_complete_ts, orders.covering_start_ts,
    orders.covering_complete_ts, orders.decorating_start_ts, orders.decorating_complete_ts,
    orders.packing_start_ts, orders.packing_complete_ts, orders.cancelled_at
  into
    id, shopify_order_number, human_id, suffix, customer_name, product_title, size, notes,
    due_date, delivery_method, stage, priority, storage, store, filling_start_ts,
    filling_complete_ts, covering_start_ts, covering_complete_ts, decorating_start_ts,
    decorating_complete_ts, packing_start_ts, packing_complete_ts, cancelled_at
  from public.orders as orders
  left join public.order_contacts as contacts
    on contacts.store = orders.store
    and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
  where orders.store = v_store and orders.id = v_id;
end;
$$;
comment on function public.get_order_for_scan is
'Returns the one order that a scan means. The scan may be an id, a docket number like #B18617, a plain number, or their QR code.

Returns one object, not a list. Raises AMBIGUOUS_SCAN for a number of several orders. DETAIL then lists the candidates with id, product_title, size and stage. Finds a cancelled order by its id, or if no other order has its number.

Role: Staff. Errors: BAD_INPUT, NOT_FOUND, AMBIGUOUS_SCAN.';
grant execute on function public.get_order_for_scan to authenticated;

select app.assert_grants();
commit;
