-- M1 store settings: the ten getters and setters that name one setting.

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
'How a store prints tickets, every property present.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_printing_settings to authenticated;

create or replace function public.set_printing_settings(p_store text, p_settings jsonb)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'printing_settings', p_settings);
$$;
comment on function public.set_printing_settings is
'Set how a store prints tickets. A property left out goes back to its default.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_printing_settings to authenticated;

create or replace function public.get_monitor_density(p_store text)
returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select public.get_setting(p_store, 'monitor.density') #>> '{}';
$$;
comment on function public.get_monitor_density is
'The density of a store''s monitors: compact or cozy.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_monitor_density to authenticated;

create or replace function public.set_monitor_density(p_store text, p_density text)
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'monitor.density', to_jsonb(p_density));
$$;
comment on function public.set_monitor_density is
'Set the density of a store''s monitors: compact or cozy.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_monitor_density to authenticated;

create or replace function public.get_flavours(p_store text)
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select array(select jsonb_array_elements_text(public.get_setting(p_store, 'flavours')));
$$;
comment on function public.get_flavours is
'The flavours of a store, in their order. Never empty.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_flavours to authenticated;

create or replace function public.set_flavours(p_store text, p_flavours text[])
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'flavours', to_jsonb(p_flavours));
$$;
comment on function public.set_flavours is
'Set the flavours of a store, at least one.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_flavours to authenticated;

create or replace function public.get_storage_locations(p_store text)
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select array(select jsonb_array_elements_text(public.get_setting(p_store, 'storage_locations')));
$$;
comment on function public.get_storage_locations is
'Where a cake may stand in a store, in their order. Never empty.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_storage_locations to authenticated;

create or replace function public.set_storage_locations(p_store text, p_locations text[])
returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select public.set_setting(p_store, 'storage_locations', to_jsonb(p_locations));
$$;
comment on function public.set_storage_locations is
'Set where a cake may stand in a store, at least one place.

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
'When orders of a store may be due: defaultDue, allowedDays (Monday to Sunday), blackoutDates.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_due_date_settings to authenticated;

create or replace function public.set_due_date_settings(p_store text, p_settings jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_every_store('Admin', nullif(p_store, 'global'));
  if jsonb_typeof(p_settings) is distinct from 'object' then
    perform app.fail('BAD_INPUT', 'Due date settings have to be an object.');
  end if;
  -- in one order, so that two writers of several keys do not wait for each other
  perform public.set_setting(p_store, 'dueDates.' || part.name, part.value)
  from (
    select parts.key as name, parts.value from jsonb_each(p_settings) as parts order by parts.key
  ) as part;
  return true;
end;
$$;
comment on function public.set_due_date_settings is
'Set when orders of a store may be due: defaultDue, allowedDays, blackoutDates. All given are set or none; those left out stay.

Role: Admin. Errors: BAD_INPUT (no such store, wrong shape).';
grant execute on function public.set_due_date_settings to authenticated;

select app.assert_grants();

commit;
