-- M1 staff: add, approve, change and list staff.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.staff_facts(p_user_id uuid)
returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'full_name', staff.full_name, 'role', staff.role, 'store', coalesce(staff.store, 'both'),
    'phone', staff.phone, 'email', staff.email, 'is_active', staff.is_active,
    'approved', staff.approved, 'hourly_rate', pay.hourly_rate
  )
  from public.staff_shared as staff
  left join private.staff_pay as pay on pay.user_id = staff.user_id
  where staff.user_id = p_user_id;
$$;
comment on function app.staff_facts is
'Returns the fields of a member of staff that an Admin may change, with pay. Returns null for an unknown id.';

create or replace function app.check_staff_fields(
  p_user_id uuid, p_full_name text, p_role text, p_phone text, p_email text, p_hourly_rate numeric
)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_wrong text[];
begin
  v_wrong := array_remove(array[
    case when p_user_id is null then 'user_id' end,
    case
      when length(coalesce(app.clean_name(p_full_name), '')) not between 1 and 200
        and p_full_name is not null then 'full_name'
    end,
    case when p_role <> all(enum_range(null::public.staff_role)::text[]) then 'role' end,
    case when length(p_phone) > 50 then 'phone' end,
    case
      when app.clean_name(p_email) !~ '^[^@\s]{1,100}@[^@\s]{1,200}$' then 'email'
    end,
    case
      when p_hourly_rate not between 0 and 99999999.99 or p_hourly_rate <> round(p_hourly_rate, 2)
        then 'hourly_rate'
    end
  ], null);
  if cardinality(v_wrong) > 0 then
    perform app.fail(
      'BAD_INPUT', format('Missing or invalid: %s.', array_to_string(v_wrong, ', ')),
      jsonb_build_object('fields', v_wrong)
    );
  end if;
end;
$$;
comment on function app.check_staff_fields is
'Raises BAD_INPUT if a field is invalid, with the names of all invalid fields. p_user_id is required. Null in any other field means not given.';

create or replace function app.save_staff(
  p_user_id uuid, p_add boolean, p_full_name text default null, p_role text default null,
  p_store text default null, p_phone text default null, p_email text default null,
  p_is_active boolean default null, p_approved boolean default null,
  p_hourly_rate numeric default null
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old jsonb;
  v_new jsonb;
  v_changes jsonb;
begin
  perform app.check_staff_fields(p_user_id, p_full_name, p_role, p_phone, p_email, p_hourly_rate);
  if p_add and not exists (
    select from public.staff_shared as staff where staff.user_id = p_user_id
  ) then
    if p_full_name is null or p_store is null then
      perform app.fail('BAD_INPUT', 'A new member of staff needs a name and a store.');
    end if;
    insert into public.staff_shared (user_id, full_name, store)
    values (p_user_id, app.clean_name(p_full_name), nullif(p_store, 'both'))
    on conflict (user_id) do nothing;
    if found then
      v_old := '{}';
    end if;
  end if;
  -- Lock the caller's row too, in the order of ids. If two Admins demote each other, the second
  -- waits here. The check below then rejects the second, so one Admin always remains.
  perform from public.staff_shared as staff
  where staff.user_id in (p_user_id, app.uid())
  order by staff.user_id for no key update;
  if v_old is null then
    v_old := app.staff_facts(p_user_id);
    if v_old is null then
      perform app.not_found('member of staff', 'user_id', p_user_id);
    end if;
    perform app.require_every_store('Admin', nullif(v_old ->> 'store', 'both'));
  end if;

  begin
    update public.staff_shared as staff
    set
      full_name = coalesce(app.clean_name(p_full_name), staff.full_name),
      role = coalesce(p_role::public.staff_role, staff.role),
      store = nullif(coalesce(p_store, staff.store), 'both'),
      phone = case when p_phone is null then staff.phone else app.clean_name(p_phone) end,
      email = case when p_email is null then staff.email else app.clean_name(p_email) end,
      is_active = coalesce(p_is_active, staff.is_active),
      approved = coalesce(p_approved, staff.approved)
    where staff.user_id = p_user_id;
  exception
    when unique_violation then -- the message of Postgres shows the email
      perform app.fail('CONFLICT', 'Another member of staff already has this email.');
  end;
  if p_hourly_rate is not null then
    insert into private.staff_pay (user_id, hourly_rate) values (p_user_id, p_hourly_rate)
    on conflict (user_id) do update set hourly_rate = excluded.hourly_rate;
  end if;

  v_new := app.staff_facts(p_user_id);
  -- the caller must also be an Admin of the new store
  perform app.require_every_store('Admin', nullif(v_new ->> 'store', 'both'));
  if p_user_id = app.uid() and exists (
    select from unnest(array['role', 'store', 'is_active', 'approved']) as power (name)
    where v_new -> power.name <> v_old -> power.name
  ) then
    perform app.fail(
      'PERMISSION_DENIED',
      'You may not change your own role, store, activity or approval. Ask another Admin.'
    );
  end if;
  v_changes := (
    select
      jsonb_object_agg(facts.key, jsonb_build_object('old', v_old -> facts.key, 'new', facts.value))
    from jsonb_each(v_new) as facts where facts.value <> coalesce(v_old -> facts.key, 'null')
  );
  if v_changes is not null then
    perform app.audit(
      case v_old when '{}' then 'add_staff' else 'update_staff' end,
      nullif(v_new ->> 'store', 'both'), p_user_id::text, v_changes
    );
  end if;
end;
$$;
comment on function app.save_staff is
'Changes a member of staff, or with p_add adds one. update_staff_member and upsert_staff_member share this part.

Null keeps a value. An empty phone or email clears the value. Callers may not change their own role, store, activity or approval. An Admin of one store may change only staff of that store. The audit log gets the old and new values. Errors: PERMISSION_DENIED, BAD_INPUT, NOT_FOUND, CONFLICT.';

create or replace function public.get_staff_member(p_user_id uuid)
returns table (
  user_id uuid, full_name text, role public.staff_role, store text, is_active boolean, phone text,
  email text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff');
begin
  if p_user_id <> v_caller.user_id then -- a null id finds nothing below
    perform app.require('Supervisor');
  end if;
  return query
  select
    staff.user_id, staff.full_name::text, staff.role, coalesce(staff.store, 'both'),
    staff.is_active, staff.phone::text, staff.email::text
  from public.staff_shared as staff
  where staff.user_id = p_user_id
  and (staff.store is null or staff.store = any(v_caller.stores));
  if not found then
    perform app.not_found('member of staff', 'user_id', p_user_id);
  end if;
end;
$$;
comment on function public.get_staff_member is
'Returns one member of staff: the caller, or for Supervisors anyone of their stores. Store both means all stores.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_staff_member to authenticated;

create or replace function public.get_staff_me()
returns table (
  user_id uuid, full_name text, role public.staff_role, store text, is_active boolean, phone text,
  email text
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select me.user_id, me.full_name, me.role, me.store, me.is_active, me.phone, me.email
  from public.get_staff_member(app.uid()) as me;
$$;
comment on function public.get_staff_me is
'Returns the caller''s own data. Store both means all stores.

Role: Staff.';
grant execute on function public.get_staff_me to authenticated;

create or replace function public.get_staff_list(
  p_role text default null, p_is_active boolean default true
)
returns table (
  user_id uuid, full_name text, role public.staff_role, store text, is_active boolean,
  approved boolean, phone text, email text, hourly_rate numeric, last_login timestamptz,
  created_at timestamptz, updated_at timestamptz
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Supervisor');
begin
  if p_role <> all(enum_range(null::public.staff_role)::text[]) then
    perform app.fail('BAD_INPUT', 'p_role must be Staff, Supervisor or Admin.');
  end if;
  return query
  select
    staff.user_id, staff.full_name::text, staff.role, coalesce(staff.store, 'both'),
    staff.is_active, staff.approved, staff.phone::text, staff.email::text,
    case when v_caller.role = 'Admin' then pay.hourly_rate end,
    staff.last_login, staff.created_at, staff.updated_at
  from public.staff_shared as staff
  left join private.staff_pay as pay on pay.user_id = staff.user_id
  where (staff.store is null or staff.store = any(v_caller.stores))
  and (p_role is null or staff.role::text = p_role)
  and (p_is_active is null or staff.is_active = p_is_active)
  order by staff.full_name, staff.user_id;
end;
$$;
comment on function public.get_staff_list is
'Returns the staff of the caller''s stores, sorted by name. hourly_rate is null unless the caller is an Admin.

A null p_role or p_is_active returns all.

Role: Supervisor. Errors: BAD_INPUT (no such role).';
grant execute on function public.get_staff_list to authenticated;

create or replace function public.update_staff_member(
  p_user_id uuid, p_full_name text default null, p_role text default null,
  p_hourly_rate numeric default null, p_is_active boolean default null,
  p_approved boolean default null, p_phone text default null
)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.save_staff(
    p_user_id, false, p_full_name => p_full_name, p_role => p_role, p_phone => p_phone,
    p_is_active => p_is_active, p_approved => p_approved, p_hourly_rate => p_hourly_rate
  );
end;
$$;
comment on function public.update_staff_member is
'Changes a member of staff: name, role, pay, activity, approval, phone. Returns nothing.

p_approved true gives a new account its rights. Null keeps a value, and an empty phone clears the phone. Callers may not change their own role, activity or approval. So one Admin always remains, even when two demote each other at once. The audit log gets the old and new values.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND.';
grant execute on function public.update_staff_member to authenticated;

create or replace function public.upsert_staff_member(
  p_user_id uuid, p_full_name text default null, p_role text default null,
  p_store text default null, p_phone text default null, p_email text default null,
  p_is_active boolean default null
)
returns uuid
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Admin', nullif(p_store, 'both'));
  select app.save_staff(
    p_user_id, true, p_full_name => p_full_name, p_role => p_role, p_store => p_store,
    p_phone => p_phone, p_email => p_email, p_is_active => p_is_active
  );
  select p_user_id;
$$;
comment on function public.upsert_staff_member is
'Adds a member of staff for an account, or changes one. Returns the account. Store both means all stores.

A new member needs a name and a store. The role is Staff unless p_role is given. New members have no rights until update_staff_member approves them. Null keeps a value, and an empty phone or email clears the value. The rules of update_staff_member apply. The migration role must insert the first Admin.

Role: Admin. Errors: BAD_INPUT, CONFLICT (the email is taken).';
grant execute on function public.upsert_staff_member to authenticated;

select app.assert_grants();
commit;
