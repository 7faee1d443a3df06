begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists project_assignments_check_subprojects on public.project_assignments;
drop function if exists app.check_subprojects;
drop view if exists app.root_projects;
drop function if exists
app.is_archived, app.project_tree, app.project_lineage, app.lock_row, app.lock_project,
app.find_project, app.lock_project_trees, app.lock_project_structure;
drop table if exists public.project_assignments, public.projects;
do $$ begin if to_regclass('app.advisory_locks') is not null then
  delete from app.advisory_locks as locks where locks.name = 'the project structure';
end if; end $$;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('KIND_MISMATCH', 'TOO_DEEP');
end if; end $$;
commit;
