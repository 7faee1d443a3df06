-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.remove_task_dependency, public.add_task_dependency, public.reorder_tasks_by,
public.reorder_tasks, public.delete_task, public.unarchive_task, public.archive_task,
public.update_task, public.create_task, public.list_tasks, app.place_tasks, app.archive_task,
app.lock_task;

commit;
