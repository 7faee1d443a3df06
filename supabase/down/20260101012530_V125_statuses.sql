-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.set_global_use_status_translations(boolean),
public.set_use_status_translations(uuid, boolean), public.use_status_translations(uuid, boolean),
public.global_use_status_translations(), public.remove_project_status(uuid),
public.set_current_status(uuid, text), public.selected_statuses(text),
public.statuses_for_projects(uuid[], text), public.project_started(uuid),
public.update_project_status_row(uuid, jsonb), public.add_project_status(uuid, text, jsonb),
public.get_project_status(uuid, uuid, text), public.list_project_statuses(uuid, text),
public.current_status(uuid, text), public.statuses_for(uuid, text), app.status_value(uuid),
app.lock_status(uuid);

commit;
