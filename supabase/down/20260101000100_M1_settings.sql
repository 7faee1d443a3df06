-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_setting(text, text), public.get_settings(text),
public.set_setting(text, text, jsonb), public.reset_setting(text, text),
public.get_printing_settings(text), public.set_printing_settings(text, jsonb),
public.get_monitor_density(text), public.set_monitor_density(text, text),
public.get_flavours(text), public.set_flavours(text, text[]),
public.get_storage_locations(text), public.set_storage_locations(text, text[]),
public.get_due_date_settings(text), public.set_due_date_settings(text, jsonb),
app.check_setting(text, jsonb), app.setting(text, text), app.require_for(text, text);
drop table if exists public.settings, app.setting_keys;

commit;
