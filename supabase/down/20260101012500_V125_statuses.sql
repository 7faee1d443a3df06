-- The columns stay, because V101 owns them.
begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.use_status_translations, public.global_use_status_translations, public.selected_statuses,
public.statuses_for_projects, public.get_project_status, public.list_project_statuses,
public.current_status, public.statuses_for, public.project_started, app.statuses_of,
app.default_status_list, app.css_color;
alter table if exists public.projects drop column if exists cemented_status_slug;
drop table if exists app.project_defaults, public.project_statuses;
drop type if exists public.project_status_value, public.status_value;
do $$
begin
  -- Clear the selections. Otherwise the foreign key rejects them when the migration runs again.
  if to_regclass('public.projects') is not null then
    update public.projects as projects set current_status_slug = null
    where projects.current_status_slug is not null;
  end if;
  if to_regclass('app.setting_keys') is not null then
    delete from public.settings as settings
    where settings.key = 'projects_use_status_translations';
    delete from app.setting_keys as keys where keys.key = 'projects_use_status_translations';
  end if;
end;
$$;
commit;
