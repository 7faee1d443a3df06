-- M0 stores: the cake stores as rows. create_store makes more of them.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.stores (
  -- in the RPCs, the words both and global mean all stores
  code text primary key check (
    code ~ '^[a-z][a-z0-9_]*$' and length(code) <= 50 and code not in ('both', 'global')
  ),
  name app.label not null check (coalesce(name = app.clean_name(name), false)),
  scan_letter text not null unique check (scan_letter ~ '^[A-Z]$'),
  shop_domain app.code unique check (shop_domain = lower(shop_domain)),
  time_zone app.code not null
  check (timestamptz '2000-01-01 00:00:00Z' at time zone time_zone is not null),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
alter table public.stores enable row level security;
comment on table public.stores is 'The cake stores, one row each.';
comment on column public.stores.code is
'The name of the store in every other table and every call.';
comment on column public.stores.scan_letter is
'The letter before the order number on a docket, as in B18617.';
comment on column public.stores.shop_domain is
'The Shopify domain that sends the webhooks of the store. Null: the store does not use Shopify.';
comment on column public.stores.time_zone is 'Decides the current date in the store (app.today).';
grant select on table public.stores to authenticated;

insert into public.stores (code, name, scan_letter, shop_domain, time_zone, currency)
values
('bannos', 'Bannos', 'B', 'bannos.myshopify.com', 'Australia/Sydney', 'AUD'),
('flourlane', 'Flourlane', 'F', 'flour-lane.myshopify.com', 'Australia/Sydney', 'AUD')
on conflict (code) do nothing;

create or replace function app.set_updated_at()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := app.now();
  return new;
end;
$$;
comment on function app.set_updated_at is 'Trigger: sets updated_at to the time of the change.';

create or replace function app.today(p_store text)
returns date
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_zone text := (select stores.time_zone from public.stores as stores where stores.code = p_store);
begin
  if v_zone is null then
    perform app.fail(
      'BAD_INPUT', format('No store %s.', coalesce(p_store, 'given')),
      jsonb_build_object('store', p_store)
    );
  end if;
  return (app.now() at time zone v_zone)::date;
end;
$$;
comment on function app.today is
'Returns the current date in a store. Raises BAD_INPUT for an unknown store.';

create or replace function app.store_of(p_order_id text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return split_part(p_order_id, '-', 1);
end;
$$;
comment on function app.store_of is
'Returns the store that an order id begins with. The store may not exist.';

create or replace trigger stores_set_updated_at before update on public.stores
for each row execute function app.set_updated_at();

select app.assert_grants();
commit;
