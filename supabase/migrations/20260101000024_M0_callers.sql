-- M0 callers: the caller of a function: identity, role and stores.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.caller') is null then
    create type app.caller as (kind text, user_id uuid, role public.staff_role, stores text[]);
  end if;
end;
$$;
comment on type app.caller is
'The caller of a function. kind is staff or service, or null for an unknown caller. stores are the stores where the caller may act.';

create or replace function app.uid()
returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
exception
  -- the claims are not valid JSON, or sub is not a uuid: the caller is unknown
  when data_exception or program_limit_exceeded then
    return null;
end;
$$;
comment on function app.uid is
'Returns the account in the claims of the request, or null. Never raises.

Replaces auth.uid(), which our owner role may not call and which raises on invalid claims.';
grant execute on function app.uid to authenticated;

create or replace function app.actor()
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller;
  v_uid uuid;
begin
  -- in a definer function current_user is the owner, but the setting role is still the caller's
  if current_setting('role', true) = 'service_role' then
    v_caller.kind := 'service';
    v_caller.stores := array(select stores.code from public.stores as stores order by stores.code);
    return v_caller;
  end if;
  v_uid := app.uid(); -- a variable, because a call in the query runs once per row
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
'Returns the caller: an active, approved member of staff, or the service role. For anybody else all fields are null.';

create or replace function app.require(
  p_role text, p_store text default null, p_service boolean default false
)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller;
  v_allowed boolean;
begin
  if p_role = 'service_role' and p_store is null and current_setting('role', true) = p_role then
    v_caller.kind := 'service'; -- a worker calls often, so its check reads no table
    return v_caller;
  end if;
  v_caller := app.actor();
  v_allowed := case
    when v_caller.kind = 'service' then p_role = 'service_role' or p_service
    when p_role = 'service_role' then false
    else v_caller.role >= p_role::public.staff_role
  end;
  if v_allowed is not true then
    if v_caller.kind is null and app.uid() is null then
      perform app.fail('NOT_SIGNED_IN', 'Sign in first.');
    end if;
    perform app.fail(
      'PERMISSION_DENIED', format('This action needs an active account of role %s.', p_role),
      jsonb_build_object('needs', p_role, 'role', v_caller.role)
    );
  end if;
  if not p_store = any(v_caller.stores) then
    perform app.today(p_store); -- rejects a store that does not exist
    perform app.fail(
      'PERMISSION_DENIED', format('Your account does not belong to store %s.', p_store),
      jsonb_build_object('store', p_store, 'stores', v_caller.stores)
    );
  end if;
  if p_store is not null then
    v_caller.stores := array[p_store];
  end if;
  return v_caller;
end;
$$;
comment on function app.require is
'Returns the caller, if the caller has at least this role and works in this store. Every RPC must begin with this check.

The stores of the result are p_store alone, or without p_store all stores of the caller. p_service admits the service role as well. With p_role service_role, only the service role is admitted. Without p_store, that result names no stores. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no such store).';

create or replace function app.require_every_store(p_role text, p_store text)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require(p_role, p_store);
begin
  if p_store is null and exists (
    select from public.stores as stores where stores.code <> all(v_caller.stores)
  ) then
    perform app.fail(
      'PERMISSION_DENIED', 'This action needs an account for all stores. Yours is for one store.',
      jsonb_build_object('stores', v_caller.stores)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_every_store is
'Returns the caller, as app.require does. A null p_store means all stores.

Raises PERMISSION_DENIED if p_store is null and the caller does not work in all stores. Other errors: as app.require.';

create or replace function app.require_performer(p_role text, p_store text, p_performed_by uuid)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require(p_role, p_store, p_performed_by is not null);
begin
  if v_caller.kind = 'service' then
    select
      'staff', staff.user_id, staff.role,
      case when staff.store is null then v_caller.stores else array[staff.store] end
    into v_caller
    from public.staff_shared as staff
    where staff.user_id = p_performed_by and staff.is_active and staff.approved
    and staff.role >= p_role::public.staff_role
    and coalesce(staff.store = p_store, true);
  end if;
  if p_performed_by is not null and v_caller.user_id is distinct from p_performed_by then
    perform app.fail(
      'PERMISSION_DENIED',
      'p_performed_by must be your own account. The service may name active staff of the store.',
      jsonb_build_object('performed_by', p_performed_by)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_performer is
'Returns the person who does the work, and checks their role and store.

For staff this is the caller, and p_performed_by must be null or the caller. The service must name a member of staff in p_performed_by. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no such store).';

create or replace function app.is_staff(p_role public.staff_role default 'Staff')
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((app.actor()).role >= p_role, false);
end;
$$;
comment on function app.is_staff is
'Returns true if the caller is active, approved staff of at least this role. For policies.';
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
'Returns the stores that the caller may see, and none for an unknown caller. For policies.';
grant execute on function app.my_stores to authenticated;

do $$
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

select app.assert_grants();
commit;
