-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists
app.project_sums, public.activities,
public.project_dependencies, public.project_assignments, public.projects,
public.project_task_dependencies, public.project_tasks, public.entity_data, public.entities;
drop domain if exists public.duration_unit, public.slug, public.translations;

do $$
begin
  if to_regclass('app.setting_keys') is not null then
    delete from public.settings as settings where settings.key = 'entities_enabled';
    delete from app.setting_keys as keys where keys.key = 'entities_enabled';
  end if;
end;
$$;

commit;
