begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('settings');
end if; end $$;
drop function if exists
public.reset_setting, public.set_setting, public.get_settings, public.get_setting,
app.audit_settings, app.check_setting, app.setting;
drop table if exists public.settings, app.setting_keys;
commit;
