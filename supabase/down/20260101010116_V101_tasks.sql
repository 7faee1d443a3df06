begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists project_task_dependencies_forbid_cycles on public.project_task_dependencies;
drop function if exists
public.remove_task_dependency, public.add_task_dependency, public.reorder_tasks_by,
public.reorder_tasks, public.unarchive_task, public.archive_task, public.update_task,
public.create_task, public.list_tasks, app.forbid_task_cycles, app.reorder_tasks,
app.set_task_archived, app.lock_task;
drop table if exists public.project_task_dependencies, public.project_tasks;
drop domain if exists public.duration_unit;
do $$ begin if to_regclass('app.advisory_locks') is not null then
  delete from app.advisory_locks as locks where locks.name = 'the dependencies of tasks';
end if; end $$;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('WOULD_CREATE_CYCLE');
end if; end $$;
commit;
