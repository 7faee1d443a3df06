begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.reset_setting, public.set_setting, public.get_settings, public.get_setting,
app.check_setting, app.setting;
drop table if exists public.settings, app.setting_keys;
commit;
