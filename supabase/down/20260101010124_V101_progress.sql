begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists projects_recount on public.projects;
drop trigger if exists project_tasks_recount on public.project_tasks;
drop trigger if exists project_assignments_completion_delete on public.project_assignments;
drop trigger if exists project_assignments_completion_update on public.project_assignments;
drop trigger if exists project_assignments_completion_insert on public.project_assignments;
drop trigger if exists project_assignments_roll_up on public.project_assignments;
drop function if exists
app.recount_changed_projects, app.recount_changed_tasks, app.recount_projects,
app.update_completion_of_changed_rows, app.update_completion_of_rows, app.apply_row_changes,
app.update_completion, app.derive_subproject_row;
drop view if exists
app.subproject_values, app.project_summaries, app.project_counts, app.project_rows;
drop function if exists app.row_hours, app.duration_hours;
drop table if exists app.project_sums;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('SUBPROJECT_ROW');
end if; end $$;
commit;
