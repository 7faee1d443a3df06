-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.set_global_use_status_translations, public.set_use_status_translations,
public.use_status_translations, public.global_use_status_translations, public.remove_project_status,
public.set_current_status, public.selected_statuses, public.statuses_for_projects,
public.project_started, public.update_project_status_row, public.add_project_status,
public.get_project_status, public.list_project_statuses, public.current_status, public.statuses_for,
app.status_value, app.lock_status;

commit;
