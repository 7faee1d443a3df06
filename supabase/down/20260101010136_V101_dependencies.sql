begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists project_dependencies_forbid_cycles on public.project_dependencies;
drop function if exists
public.apply_template_dependencies, public.remove_dependency, public.add_dependency,
app.copy_task_dependencies, app.forbid_cycles;
drop table if exists public.project_dependencies;
commit;
