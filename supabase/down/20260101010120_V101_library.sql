-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.remove_task_dependency(uuid, uuid), public.add_task_dependency(uuid, uuid),
public.reorder_tasks_by(text, uuid[]), public.reorder_tasks(uuid[]), public.delete_task(uuid),
public.unarchive_task(uuid), public.archive_task(uuid), public.update_task(uuid, jsonb),
public.create_task(text, jsonb), public.list_tasks(text, text, text), app.place_tasks(uuid[]),
app.archive_task(uuid, timestamptz), app.lock_task(uuid);

commit;
