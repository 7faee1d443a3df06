-- M1 sites: where stock lies, and which site makes an order.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.sites (
  code text primary key check (code ~ '^[a-z][a-z0-9_]{0,49}$'),
  name app.label not null check (coalesce(name = app.clean_name(name), false)),
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
alter table public.sites enable row level security;
comment on table public.sites is
'The places where stock lies, such as a shop or a central kitchen. Sites are never deleted.';
comment on column public.sites.is_active is
'False: the site is closed. Rules for new orders cannot name a closed site.';
grant select on table public.sites to authenticated;

create table if not exists public.store_sites (
  id uuid primary key default gen_random_uuid(),
  store text not null references public.stores (code) on delete cascade,
  site text not null references public.sites (code),
  delivery_method text check (delivery_method in ('pickup', 'delivery', 'manual')),
  pickup_location app.label check (
    pickup_location <> '' and pickup_location = app.clean_name(pickup_location)
  )
);
create unique index if not exists store_sites_rule_key
on public.store_sites (store, delivery_method, lower(pickup_location)) nulls not distinct;
create index if not exists store_sites_site_idx on public.store_sites (site);
alter table public.store_sites enable row level security;
comment on table public.store_sites is
'The sites of each store. A row is also a rule: the site makes the new orders that the row describes.';
comment on column public.store_sites.delivery_method is
'The rule is for orders of this delivery method. Null: for every method.';
comment on column public.store_sites.pickup_location is
'The rule is for orders with this pickup location, in upper or lower case. Null: for every location. A row with neither is the default of the store.';

-- No foreign key: sites are never deleted, and an index would slow each move of an order.
alter table public.orders add column if not exists site text not null default 'main'
check (site ~ '^[a-z][a-z0-9_]{0,49}$');
comment on column public.orders.site is
'The site that makes the order and whose stock the order takes.';

create or replace function app.add_default_site()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.store_sites (store, site) values (new.code, 'main');
  return null;
end;
$$;
comment on function app.add_default_site is
'Trigger: gives a new store the site main, until save_store_sites names other sites.';

create or replace function app.choose_site(
  p_store text, p_delivery_method text, p_pickup_location text default null
)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select rules.site
    from public.store_sites as rules
    where rules.store = p_store
    and (rules.delivery_method = p_delivery_method or rules.delivery_method is null)
    and (lower(rules.pickup_location) = lower(p_pickup_location) or rules.pickup_location is null)
    order by rules.pickup_location is null, rules.delivery_method is null
    limit 1
  );
end;
$$;
comment on function app.choose_site is
'Returns the site that makes a new order. A rule with the pickup location comes first, then a rule with the delivery method, then the default of the store.';

create or replace function app.sites_of(p_stores text[])
returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct rules.site from public.store_sites as rules
    where rules.store = any(p_stores) order by rules.site
  );
end;
$$;
comment on function app.sites_of is 'Returns the sites of these stores, in the order of their codes.';

create or replace function app.my_sites()
returns text[]
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.sites_of(app.my_stores());
end;
$$;
comment on function app.my_sites is
'Returns the sites of the stores that the caller may see. For policies.';
grant execute on function app.my_sites to authenticated;

create or replace function app.require_sites(p_site text)
returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_sites text[] := app.sites_of((app.actor()).stores);
begin
  if p_site is null then
    return v_sites;
  elsif not p_site = any(v_sites) then
    perform app.fail(
      'BAD_INPUT', 'Your stores have no such site. DETAIL lists their sites.',
      jsonb_build_object('site', p_site, 'sites', v_sites)
    );
  end if;
  return array[p_site];
end;
$$;
comment on function app.require_sites is
'Returns the sites that a call reads: p_site alone, or without p_site all sites of the caller. Raises BAD_INPUT for another site.';

create or replace function app.require_site(p_site text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_sites text[] := app.require_sites(p_site);
begin
  if cardinality(v_sites) <> 1 then
    perform app.fail(
      'BAD_INPUT', 'Your stores have several sites. Name one of them; DETAIL lists them.',
      jsonb_build_object('site', p_site, 'sites', v_sites)
    );
  end if;
  return v_sites[1];
end;
$$;
comment on function app.require_site is
'Returns the site that a call writes to: p_site, or without p_site the only site of the caller. Raises BAD_INPUT for another site, and without p_site for a caller with several sites.';

create or replace function public.get_sites(p_store text default null)
returns table (code text, name text, is_active boolean, rules jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff', p_store);
begin
  return query
  select
    sites.code, sites.name::text, sites.is_active,
    coalesce(jsonb_agg(
      jsonb_build_object(
        'store', rules.store, 'delivery_method', rules.delivery_method,
        'pickup_location', rules.pickup_location
      ) order by rules.store, rules.delivery_method nulls first, rules.pickup_location nulls first
    ) filter (where rules.store = any(v_caller.stores)), '[]')
  from public.sites as sites
  left join public.store_sites as rules on rules.site = sites.code
  group by sites.code
  having count(rules.id) = 0 and p_store is null or bool_or(rules.store = any(v_caller.stores))
  order by sites.code;
end;
$$;
comment on function public.get_sites is
'Returns the sites of the stores of the caller, and without p_store also the sites of no store.

rules says which new orders of a store the site makes: [{store, delivery_method, pickup_location}]. A null means every method or location.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_sites to authenticated;

create or replace function public.upsert_site(
  p_code text, p_name text default null, p_is_active boolean default null
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Admin');
begin
  if (p_code ~ '^[a-z][a-z0-9_]{0,49}$') is not true then
    perform app.fail(
      'BAD_INPUT', 'p_code must be 1 to 50 lower-case letters, digits and _, with a letter first.',
      jsonb_build_object('code', p_code)
    );
  end if;
  perform app.check_length('p_name', p_name, 300);
  perform from public.sites as sites where sites.code = p_code for no key update;
  if exists (
    select from public.store_sites as rules
    where rules.site = p_code and rules.store <> all(v_caller.stores)
  ) then
    perform app.fail(
      'PERMISSION_DENIED', 'Another store uses this site. This needs an account for all its stores.',
      jsonb_build_object('site', p_code)
    );
  elsif p_is_active is false and exists (
    select from public.store_sites as rules where rules.site = p_code
  ) then
    perform app.fail(
      'CONFLICT', format('A store uses site %s. Remove its rules first.', p_code),
      jsonb_build_object('site', p_code)
    );
  end if;
  insert into public.sites as sites (code, name, is_active)
  values (p_code, coalesce(app.clean_name(p_name), p_code), coalesce(p_is_active, true))
  on conflict (code) do update set
    name = coalesce(app.clean_name(p_name), sites.name),
    is_active = coalesce(p_is_active, sites.is_active);
  perform app.audit(
    'upsert_site', null, p_code, jsonb_build_object('name', p_name, 'is_active', p_is_active)
  );
  return p_code;
end;
$$;
comment on function public.upsert_site is
'Creates a site, or updates the site with this code. Returns its code.

A null field stays unchanged. A new site serves no store until save_store_sites names it. A site of a store cannot be closed. Audited.

Role: Admin. Errors: BAD_INPUT, CONFLICT (a store uses the site).';
grant execute on function public.upsert_site to authenticated;

create or replace function app.write_store_sites(p_store text, p_sites jsonb)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_stores text[] := (app.actor()).stores;
  v_wrong text;
  v_count integer;
begin
  perform from public.stores as stores where stores.code = p_store for no key update;
  if jsonb_typeof(p_sites) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_sites) as rules (one)
    where jsonb_typeof(rules.one) <> 'object'
  ) then
    perform app.fail(
      'BAD_INPUT', 'p_sites must be a list of {site, delivery_method, pickup_location}.'
    );
  end if;
  -- a closed site gets no rule: upsert_site waits for these locks before it closes one
  perform from public.sites as sites
  where sites.code in (select rules.one ->> 'site' from jsonb_array_elements(p_sites) as rules (one))
  order by sites.code for share;
  select rules.one ->> 'site' into v_wrong
  from jsonb_array_elements(p_sites) as rules (one)
  left join public.sites as sites on sites.code = rules.one ->> 'site'
  left join public.store_sites as users on users.site = sites.code
  group by rules.one, sites.is_active
  having sites.is_active is not true
  or count(users.id) > 0 and not bool_or(users.store = any(v_stores))
  limit 1;
  if found then
    perform app.fail(
      'BAD_INPUT', 'A rule names no open site, or a site that only other stores use.',
      jsonb_build_object('site', v_wrong)
    );
  end if;
  delete from public.store_sites as rules where rules.store = p_store;
  begin
    insert into public.store_sites (store, site, delivery_method, pickup_location)
    select
      p_store, rules.one ->> 'site', lower(nullif(rules.one ->> 'delivery_method', '')),
      app.clean_name(rules.one ->> 'pickup_location')
    from jsonb_array_elements(p_sites) as rules (one);
    get diagnostics v_count = row_count;
  exception
    when integrity_constraint_violation then
      perform app.fail(
        'BAD_INPUT', 'Two rules are for the same orders, or a rule has an invalid value.'
      );
  end;
  if app.choose_site(p_store, null) is null then
    perform app.fail(
      'BAD_INPUT', 'One rule must have no delivery method and no pickup location: the default.'
    );
  end if;
  return v_count;
end;
$$;
comment on function app.write_store_sites is
'Replaces the sites of a store. Returns their number. Errors: BAD_INPUT.';

create or replace function public.save_store_sites(p_store text, p_sites jsonb)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  perform app.require('Admin', coalesce(p_store, ''));
  v_count := app.write_store_sites(p_store, p_sites);
  perform app.audit(
    'save_store_sites', p_store, p_store, jsonb_build_object('sites', p_sites)
  );
  return v_count;
end;
$$;
comment on function public.save_store_sites is
'Replaces the sites of a store, and which new orders each site makes. Returns the number of rules.

p_sites is a list of {site, delivery_method, pickup_location}. A null means every method or location. One rule must have neither: the default. Orders that exist keep their site. A site that only other stores use needs an account for one of them. Audited.

Role: Admin. Errors: BAD_INPUT (no such store, no open site, a site of another store, no default).';
grant execute on function public.save_store_sites to authenticated;

create or replace trigger sites_set_updated_at before update on public.sites
for each row execute function app.set_updated_at();
create or replace trigger stores_add_default_site after insert on public.stores
for each row execute function app.add_default_site();

insert into public.sites (code, name) values ('main', 'Main') on conflict (code) do nothing;
insert into public.store_sites (store, site)
select
  stores.code as store,
  'main' as site
from public.stores as stores
on conflict do nothing;

do $$
begin
  if not exists (select from pg_policies where policyname = 'sites_select_authenticated') then
    create policy sites_select_authenticated on public.sites
    for select to authenticated
    using ((select app.is_staff()) and code = any((select app.my_sites())::text[]));
  end if;
end;
$$;

select app.assert_grants();
commit;
