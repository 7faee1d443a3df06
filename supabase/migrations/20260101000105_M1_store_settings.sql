-- M1 store settings: a getter and a setter for each setting that apps use by name.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.get_printing_settings(p_store text)
returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select public.get_setting(p_store, 'printing_settings');
$$;
comment on function public.get_printing_settings is
'Returns how a store prints tickets, with every property.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_printing_settings to authenticated;

create or replace function public.set_printing_settings(p_store text, p_settings jsonb)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'printing_settings', p_settings);
$$;
comment on function public.set_printing_settings is
'Sets how a store prints tickets. A missing property gets its default. Returns true.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_printing_settings to authenticated;

create or replace function public.get_monitor_density(p_store text)
returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select public.get_setting(p_store, 'monitor.density') #>> '{}';
$$;
comment on function public.get_monitor_density is
'Returns the row spacing on the monitors of a store: compact or cozy.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_monitor_density to authenticated;

create or replace function public.set_monitor_density(p_store text, p_density text)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'monitor.density', to_jsonb(p_density));
$$;
comment on function public.set_monitor_density is
'Sets the row spacing on the monitors of a store: compact or cozy. Returns true.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_monitor_density to authenticated;

create or replace function public.get_flavours(p_store text)
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select array(select jsonb_array_elements_text(public.get_setting(p_store, 'flavours')));
$$;
comment on function public.get_flavours is
'Returns the flavours of a store, in order. Never empty.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_flavours to authenticated;

create or replace function public.set_flavours(p_store text, p_flavours text[])
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'flavours', to_jsonb(p_flavours));
$$;
comment on function public.set_flavours is
'Sets the flavours of a store, at least one. Returns true.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_flavours to authenticated;

create or replace function public.get_storage_locations(p_store text)
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select array(select jsonb_array_elements_text(public.get_setting(p_store, 'storage_locations')));
$$;
comment on function public.get_storage_locations is
'Returns the storage locations of a store, in order. Never empty.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_storage_locations to authenticated;

create or replace function public.set_storage_locations(p_store text, p_locations text[])
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'storage_locations', to_jsonb(p_locations));
$$;
comment on function public.set_storage_locations is
'Sets the storage locations of a store, at least one. Returns true.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_storage_locations to authenticated;

create or replace function public.get_due_date_settings(p_store text)
returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'defaultDue', public.get_setting(p_store, 'dueDates.defaultDue'),
    'allowedDays', public.get_setting(p_store, 'dueDates.allowedDays'),
    'blackoutDates', public.get_setting(p_store, 'dueDates.blackoutDates')
  );
$$;
comment on function public.get_due_date_settings is
'Returns when orders of a store may be due: {defaultDue, allowedDays, blackoutDates}.

allowedDays has seven booleans, Monday to Sunday.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_due_date_settings to authenticated;

create or replace function public.set_due_date_settings(p_store text, p_settings jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_every_store('Admin', nullif(p_store, 'global'));
  if jsonb_typeof(p_settings) is distinct from 'object' then
    perform app.fail('BAD_INPUT', 'p_settings must be an object.');
  end if;
  -- in order of key, so that two callers with several keys cannot deadlock
  perform public.set_setting(p_store, 'dueDates.' || part.name, part.value)
  from (
    select parts.key as name, parts.value from jsonb_each(p_settings) as parts order by parts.key
  ) as part;
  return true;
end;
$$;
comment on function public.set_due_date_settings is
'Sets when orders of a store may be due: any of defaultDue, allowedDays, blackoutDates. Returns true.

Sets all given properties or none. Missing properties stay unchanged.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_due_date_settings to authenticated;

select app.assert_grants();
commit;
