-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_setting, public.get_settings, public.set_setting, public.reset_setting,
public.get_printing_settings, public.set_printing_settings, public.get_monitor_density,
public.set_monitor_density, public.get_flavours, public.set_flavours, public.get_storage_locations,
public.set_storage_locations, public.get_due_date_settings, public.set_due_date_settings,
app.check_setting, app.setting, app.require_for;
drop table if exists public.settings, app.setting_keys;

commit;
