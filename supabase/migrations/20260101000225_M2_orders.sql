-- M2 orders: take in the orders that Shopify sends.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.shopify_orders (
  store text not null references public.stores (code),
  gid app.code not null,
  lines jsonb not null default '[]',
  site text not null default 'main' check (site ~ '^[a-z][a-z0-9_]{0,49}$'),
  remote_updated_at timestamptz,
  cancelled_at timestamptz,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  primary key (store, gid)
);
alter table public.shopify_orders enable row level security;
comment on table public.shopify_orders is
'One row per Shopify order, for any number of cakes. The payload and the customer are in order_contacts.';
comment on column public.shopify_orders.lines is
'The lines of the order, read by app.shopify_lines. They have no personal data.';
comment on column public.shopify_orders.site is
'The site of the order, chosen when the order arrived. All its cakes have the same site.';
comment on column public.shopify_orders.remote_updated_at is
'The time of the last change, by the clock of Shopify. An older payload is late and is ignored.';
comment on column public.shopify_orders.cancelled_at is
'The time when the cancellation in Shopify arrived. If the cancellation arrived before the order, the order gets no cakes.';

do $$
begin
  if not exists (select from pg_constraint where conname = 'orders_shopify_order_fkey') then
    -- checked at commit, because a restore may load the cakes before their orders
    alter table public.orders add constraint orders_shopify_order_fkey
    foreign key (store, shopify_order_gid) references public.shopify_orders (store, gid)
    deferrable initially deferred;
  end if;
end;
$$;

create or replace function app.change_order(p_store text, p_order jsonb, p_payload jsonb)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_gid text := p_order ->> 'gid';
  v_cancelled boolean := (p_order ->> 'cancelled')::boolean;
  v_at timestamptz := (p_order ->> 'updated_at')::timestamptz;
  v_contact public.order_contacts := jsonb_populate_record(
    null::public.order_contacts, p_order -> 'contact'
  );
  v_known record;
  v_reason text;
  v_outcome text;
begin
  select heads.lines, heads.remote_updated_at, heads.cancelled_at, heads.site into strict v_known
  from public.shopify_orders as heads
  where heads.store = p_store and heads.gid = v_gid for update;
  if v_known.cancelled_at is not null or not v_cancelled and v_at < v_known.remote_updated_at then
    return 'unchanged';
  end if;
  -- lock the cakes in the order of their ids, as every function does, to prevent deadlocks
  perform from public.orders as units
  where units.store = p_store and units.shopify_order_gid = v_gid
  order by units.id for no key update;
  update public.shopify_orders as heads
  set
    lines = p_order -> 'lines', remote_updated_at = greatest(v_at, v_known.remote_updated_at),
    cancelled_at = case when v_cancelled then app.now() end
  where heads.store = p_store and heads.gid = v_gid;
  if v_cancelled then
    v_outcome := 'cancelled';
    v_reason := coalesce(p_payload ->> 'cancel_reason', p_payload ->> 'cancelReason');
    perform app.cancel_units(
      p_store,
      array(
        select units.id from public.orders as units
        where units.store = p_store and units.shopify_order_gid = v_gid
      ),
      concat_ws(': ', 'Cancelled in Shopify', left(v_reason, 100)), 'shopify'
    );
  elsif app.apply_order_changes(
    p_store,
    -- Without a contact, the customer was deleted. The last payload is unknown, so nothing differs.
    app.shopify_order(coalesce((
      select contacts.payload from public.order_contacts as contacts
      where contacts.store = p_store and contacts.order_gid = v_gid
    ), p_payload)),
    p_order || jsonb_build_object('site', v_known.site)
  ) then
    v_outcome := 'updated';
  end if;
  update public.order_contacts as contacts
  set
    customer_id = v_contact.customer_id, email = v_contact.email, phone = v_contact.phone,
    gift_sender = v_contact.gift_sender, address = v_contact.address, payload = p_payload
  where contacts.store = p_store and contacts.order_gid = v_gid;
  return coalesce(
    v_outcome,
    case when v_known.lines is distinct from p_order -> 'lines' then 'relined' else 'unchanged' end
  );
end;
$$;
comment on function app.change_order is
'Changes or cancels a known order as a later payload says. Returns updated, cancelled, unchanged, or relined if only its lines changed.';

create or replace function app.ingest_order(p_store text, p_topic text, p_payload jsonb)
returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_order jsonb := app.shopify_order(p_payload);
  v_gid text := v_order ->> 'gid';
  v_site text := app.choose_site(
    p_store, v_order ->> 'delivery_method', v_order ->> 'pickup_location'
  );
  v_cancelled boolean := (v_order ->> 'cancelled')::boolean;
  v_contact public.order_contacts := jsonb_populate_record(
    null::public.order_contacts, v_order -> 'contact'
  );
  v_outcome text := 'unchanged';
begin
  if p_topic not in ('orders/create', 'orders/updated', 'orders/cancelled') then
    perform app.fail(
      'BAD_INPUT', 'The topic must be orders/create, orders/updated or orders/cancelled.'
    );
  end if;
  -- The signature covers the body alone, so another webhook could be sent again with this topic.
  if p_topic = 'orders/cancelled' and not v_cancelled then
    perform app.fail(
      'BAD_INPUT', 'The topic is orders/cancelled, but the order has no cancelled_at.',
      '{"field": "cancelled_at"}'
    );
  end if;
  insert into public.shopify_orders (store, gid, lines, site, remote_updated_at, cancelled_at)
  values (
    p_store, v_gid, v_order -> 'lines', v_site, (v_order ->> 'updated_at')::timestamptz,
    case when v_cancelled then app.now() end
  )
  on conflict (store, gid) do nothing;
  if found then
    insert into public.order_contacts (
      store, order_gid, customer_id, customer_name, email, phone, gift_sender, address, payload
    )
    values (
      p_store, v_gid, v_contact.customer_id, v_order ->> 'customer_name', v_contact.email,
      v_contact.phone, v_contact.gift_sender, v_contact.address, p_payload
    );
    v_outcome := 'cancelled';
    if not v_cancelled then
      perform app.add_units(
        p_store, v_order || jsonb_build_object('site', v_site), v_order -> 'units'
      );
      v_outcome := 'created';
    end if;
  elsif p_topic <> 'orders/create' then
    v_outcome := app.change_order(p_store, v_order, p_payload);
  end if;
  if v_outcome <> 'unchanged' then
    perform app.order_changed(p_store, v_gid);
  end if;
  if v_outcome in ('unchanged', 'relined') then
    return 'unchanged';
  end if;
  perform app.emit(
    'orders', jsonb_build_object('store', p_store, 'gid', v_gid, 'outcome', v_outcome)
  );
  return v_outcome;
end;
$$;
comment on function app.ingest_order is
'Takes in an order from Shopify. Returns created, updated, cancelled or unchanged.

orders/create adds an order, chooses its site, and never changes an order. An update of an unknown order adds the order. cancelled_at of the payload says whether the order is cancelled, under any topic. A topic orders/cancelled without it is rejected. An update changes nothing if it is older than the stored payload, or if the order is cancelled. A cancellation keeps complete cakes and their stock. After a cancellation, a later orders/create adds no cakes. Errors: BAD_INPUT, CONFLICT.';

create or replace function app.audit_shopify_orders()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select heads.store, format('order %s is cancelled, and its cake %s is open', heads.gid, units.id)
  from public.shopify_orders as heads
  inner join public.orders as units
    on units.store = heads.store and units.shopify_order_gid = heads.gid
  where heads.cancelled_at is not null and units.is_open
  union all
  select
    units.store,
    format('cakes %s share the total or the accessories of one order', string_agg(units.id, ', '))
  from public.orders as units
  where units.shopify_order_gid is not null
  group by units.store, units.shopify_order_gid
  having count(*) filter (where units.total_amount > 0) > 1
  or count(*) filter (where units.accessories <> '[]') > 1
  union all
  select units.store, format('cake %s is at site %s, and its order at %s', units.id, units.site, heads.site)
  from public.shopify_orders as heads
  inner join public.orders as units
    on units.store = heads.store and units.shopify_order_gid = heads.gid
  where units.site <> heads.site
  union all
  select contacts.store, format('the contact %s has no order', contacts.order_gid)
  from public.order_contacts as contacts
  where not exists (
    select from public.shopify_orders as heads
    where heads.store = contacts.store and heads.gid = contacts.order_gid
  )
  and not exists (
    select from public.orders as units
    where units.store = contacts.store and units.id = contacts.order_gid
    and units.shopify_order_gid is null
  );
$$;
comment on function app.audit_shopify_orders is
'Invariant: a cancelled order of Shopify has no open cake. One cake has the total, and one the accessories. All cakes are at the site of their order. Every contact has an order.';

create or replace trigger shopify_orders_set_updated_at before update on public.shopify_orders
for each row execute function app.set_updated_at();

select app.register_invariant('shopify_orders', 'audit_shopify_orders');

select app.assert_grants();
commit;
