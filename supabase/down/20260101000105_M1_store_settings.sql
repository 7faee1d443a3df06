begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.set_due_date_settings, public.get_due_date_settings, public.set_storage_locations,
public.get_storage_locations, public.set_flavours, public.get_flavours, public.set_monitor_density,
public.get_monitor_density, public.set_printing_settings, public.get_printing_settings;
commit;
