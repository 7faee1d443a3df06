-- M0 callers: the caller of a function: identity, role and stores.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.caller') is null then
    create type app.caller as (
      kind text, user_id uuid, role public.staff_role, stores text[]
    );
  end if;
end;
$$;
comment on type app.caller is
'Who is calling. Kind is staff or service; null is nobody. Stores are those the caller may act on.';

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
      'PERMISSION_DENIED', 'That concerns every store, and your account belongs to one.',
      jsonb_build_object('stores', v_caller.stores)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_every_store is
'As app.require, where no store means all of them: whoever belongs to one store cannot decide for every store.';

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
      'PERMISSION_DENIED', 'Nobody works in the name of this account.',
      jsonb_build_object('performed_by', p_performed_by)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_performer is
'app.require for who does the work: the caller, who may be named as well; for the service the member of staff that it names, and it has to.

Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no such store).';

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

select app.assert_grants();

commit;
