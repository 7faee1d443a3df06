-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop view if exists app.project_summaries, app.project_rows, app.root_projects;
drop function if exists
app.settle_rows, app.settle_changed_rows, app.forbid_cycles, app.forbid_task_cycles cascade;
do $$
begin
  if to_regclass('public.projects') is not null then
    drop trigger if exists project_dependencies_keep on public.project_dependencies;
    drop trigger if exists project_task_dependencies_keep on public.project_task_dependencies;
    drop function if exists
    app.project_state, app.is_archived, app.has_status, app.lock_row, app.lock_project,
    app.find_project;
  end if;
end;
$$;
drop function if exists
app.settle_projects, app.row_hours, app.duration_hours, app.lock_project_trees, app.record_activity,
app.slugify, app.check_attrs, app.refuse_row, app.check_order, app.check_strategy, app.take_places,
app.translate;

commit;
