begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('project_statuses');
end if; end $$;
drop trigger if exists project_statuses_drop_selection on public.project_statuses;
drop trigger if exists project_statuses_move_selection on public.project_statuses;
drop trigger if exists project_statuses_require_started on public.project_statuses;
drop trigger if exists projects_record_selection on public.projects;
drop trigger if exists projects_cement on public.projects;
drop trigger if exists projects_inherit_statuses_update on public.projects;
drop trigger if exists projects_inherit_statuses_insert on public.projects;
drop function if exists
public.recement_project_statuses, public.cement_project_statuses, app.record_selection,
app.move_selection, app.drop_selection, app.require_started, app.cement_changed_project,
app.inherit_statuses, app.lock_started_project, app.recement, app.copy_statuses,
app.describe_change, app.audit_project_statuses;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('NO_STATUS_ENTITY');
end if; end $$;
commit;
