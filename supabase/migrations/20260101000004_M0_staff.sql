-- M0 staff: who works here, and who is calling.
--
-- Needs: nothing

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Types
do $$
begin
  if to_regtype('public.staff_role') is null then
    create type public.staff_role as enum ('Staff', 'Supervisor', 'Admin');
  end if;
  if to_regtype('app.caller') is null then
    create type app.caller as (
      kind text, user_id uuid, role public.staff_role, stores text[]
    );
  end if;
end;
$$;
comment on type public.staff_role is
'What a member of staff may do. Declared in ascending order, so that roles compare.';
comment on type app.caller is
'Who is calling. Kind is staff or service; null is nobody. Stores are those the caller may act on.';

-- Tables
create table if not exists public.staff_shared (
  user_id uuid primary key,
  full_name text not null check (full_name <> ''),
  role public.staff_role not null default 'Staff',
  store text references public.stores (code),
  phone text,
  email text,
  is_active boolean not null default true,
  approved boolean not null default false,
  last_login timestamptz,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists staff_shared_email_key on public.staff_shared (lower(email));
create index if not exists staff_shared_store_idx on public.staff_shared (store);
alter table public.staff_shared enable row level security;
comment on table public.staff_shared is
'Staff of all stores. Somebody counts as staff only while active and approved.';
comment on column public.staff_shared.user_id is
'The account, as auth.users knows it. No foreign key: the person outlives the account, as do their events and hours.';
comment on column public.staff_shared.store is 'The store they work in. Null: every store.';
comment on column public.staff_shared.approved is 'An Admin has let them in. Signing up is not enough.';

create table if not exists private.staff_pay (
  user_id uuid primary key references public.staff_shared (user_id) on delete cascade,
  hourly_rate numeric(10, 2) not null check (hourly_rate >= 0),
  updated_at timestamptz not null default app.now()
);
alter table private.staff_pay enable row level security;
comment on table private.staff_pay is
'What somebody earns an hour. Apart from staff_shared, because a row policy hides no column.';

-- Functions, internal
create or replace function app.uid()
returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
exception
  -- not JSON, not a uuid, a number too large, nested too deeply: nobody
  when data_exception or program_limit_exceeded then
    return null;
end;
$$;
comment on function app.uid is
'The account in the claims of the request. Null when they name none; never raises.

Our owner role may not call auth.uid(), which also raises on claims it cannot read.';
grant execute on function app.uid to authenticated;

create or replace function app.actor()
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller;
  v_uid uuid;
begin
  -- current_user is the owner inside a definer function; the setting is still the caller's role
  if current_setting('role', true) = 'service_role' then
    v_caller.kind := 'service';
    v_caller.stores := array(select stores.code from public.stores as stores order by stores.code);
    return v_caller;
  end if;
  v_uid := app.uid(); -- once, not for every row of a short table
  select
    'staff', staff.user_id, staff.role,
    case
      when staff.store is not null then array[staff.store]
      else array(select stores.code from public.stores as stores order by stores.code)
    end
  into v_caller
  from public.staff_shared as staff
  where staff.user_id = v_uid and staff.is_active and staff.approved;
  return v_caller;
end;
$$;
comment on function app.actor is
'Who is calling: an active, approved member of staff, the service role, or nobody (all null).';

create or replace function app.require(
  p_role text, p_store text default null, p_service boolean default false
)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.actor();
  v_allowed boolean := case
    when v_caller.kind = 'service' then p_role = 'service_role' or p_service
    when p_role = 'service_role' then false
    else v_caller.role >= p_role::public.staff_role
  end;
begin
  if v_allowed is not true then
    if v_caller.kind is null and app.uid() is null then
      perform app.fail('NOT_SIGNED_IN', 'Sign in first.');
    end if;
    perform app.fail(
      'PERMISSION_DENIED', 'Your account may not do this.',
      jsonb_build_object('needs', p_role, 'role', v_caller.role)
    );
  end if;
  if not p_store = any(v_caller.stores) then
    if not exists (select from public.stores as stores where stores.code = p_store) then
      perform app.fail(
        'BAD_INPUT', format('No store %s.', p_store), jsonb_build_object('store', p_store)
      );
    end if;
    perform app.fail(
      'PERMISSION_DENIED', format('Your account does not belong to store %s.', p_store),
      jsonb_build_object('store', p_store, 'stores', v_caller.stores)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require is
'The first line of every RPC: the caller, if they have at least this role and work in this store.

A null store asks for no store in particular. p_service lets the service role in as well; the role service_role lets in nobody else. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no such store).';

create or replace function app.is_staff(p_role public.staff_role default 'Staff')
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((app.actor()).role >= p_role, false);
end;
$$;
comment on function app.is_staff is
'For policies: whether the caller is active, approved staff of at least this role.';
grant execute on function app.is_staff to authenticated;

create or replace function app.my_stores()
returns text[]
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((app.actor()).stores, '{}');
end;
$$;
comment on function app.my_stores is
'For policies: the stores the caller may look into; none for a stranger.';
grant execute on function app.my_stores to authenticated;

-- Triggers
create or replace trigger staff_shared_set_updated_at
before update on public.staff_shared
for each row execute function app.set_updated_at();
create or replace trigger staff_pay_set_updated_at
before update on private.staff_pay
for each row execute function app.set_updated_at();

-- Policies
do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
begin
  if not exists (select from pg_policies where policyname = 'stores_select_authenticated') then
    create policy stores_select_authenticated on public.stores
    for select to authenticated
    using (code = any ((select app.my_stores())::text[]));
  end if;
  if not exists (
    select from pg_policies where policyname = 'staff_shared_select_authenticated'
  ) then
    create policy staff_shared_select_authenticated on public.staff_shared
    for select to authenticated
    using (
      (select app.is_staff())
      and (store is null or store = any ((select app.my_stores())::text[]))
      and (user_id = (select app.uid()) or (select app.is_staff('Supervisor')))
    );
  end if;
end;
$$;

-- Grants
grant select on table public.staff_shared to authenticated;

commit;
