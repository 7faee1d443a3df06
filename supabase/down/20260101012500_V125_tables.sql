-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

alter table if exists public.projects
drop column if exists cemented_status_slug;
drop table if exists public.project_statuses, app.project_defaults;
drop type if exists public.project_status_value, public.status_value;

do $$
begin
  if to_regclass('public.projects') is not null then
    update public.projects as projects set current_status_slug = null
    where projects.current_status_slug is not null;
  end if;
  if to_regclass('app.setting_keys') is not null then
    delete from public.settings as settings
    where settings.key = 'projects_use_status_translations';
    delete from app.setting_keys as keys where keys.key = 'projects_use_status_translations';
  end if;
  if to_regclass('app.error_codes') is not null then
    delete from app.error_codes as codes
    where codes.code in ('INVALID_STATUS', 'NO_STATUS_ENTITY');
  end if;
end;
$$;

commit;
