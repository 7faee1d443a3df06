-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop view if exists app.project_summaries, app.project_rows, app.root_projects;
drop function if exists
app.settle_rows(), app.settle_changed_rows(), app.forbid_cycles(),
app.forbid_task_cycles() cascade;
do $$
begin
  if to_regclass('public.projects') is not null then
    drop trigger if exists project_dependencies_keep on public.project_dependencies;
    drop trigger if exists project_task_dependencies_keep on public.project_task_dependencies;
    drop function if exists
    app.project_state(public.projects), app.is_archived(public.projects),
    app.has_status(public.projects, text), app.lock_row(uuid), app.lock_project(uuid),
    app.find_project(uuid);
  end if;
end;
$$;
drop function if exists
app.settle_projects(uuid[]), app.row_hours(numeric, text, numeric, text, boolean),
app.duration_hours(numeric, text, boolean),
app.lock_project_trees(uuid[]), app.record_activity(text, text, uuid, jsonb, text, text),
app.slugify(text, text), app.check_attrs(jsonb, text[]), app.refuse_row(text, text, text),
app.check_order(uuid[]), app.check_strategy(text),
app.take_places(uuid[], uuid[], integer[]),
app.translate(text, jsonb, text, text);

commit;
