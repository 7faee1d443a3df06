-- Takes away what the migration of this name creates, and puts back what it replaced.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
declare
  v_row record;
begin
  if to_regclass('public.project_assignments') is null then
    return; -- all of it is gone already
  end if;
  select rows.uuid, rows.project_uuid into v_row
  from public.project_assignments as rows
  where to_jsonb(rows) ->> 'child_project_uuid' is not null
  limit 1;
  if found then
    raise exception 'Row % of project % is a sub-project: detach every one first.',
      v_row.uuid, v_row.project_uuid;
  end if;

create or replace function app.clone_rows(p_source uuid, p_target uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $body$
  -- one statement: foreign keys, cycles and completion are seen to once, when all of it is there
  with pairs as materialized (
    select rows.uuid as old, gen_random_uuid() as new
    from public.project_assignments as rows
    where rows.project_uuid = p_source
  ),
  cloned as (
    insert into public.project_assignments (
      uuid, project_uuid, task_uuid, position, description, estimated_duration,
      estimated_duration_unit, assigned_person_uuid, counts_weekends, track_progress, translations
    )
    select
      pairs.new, p_target, rows.task_uuid, rows.position, rows.description,
      rows.estimated_duration, rows.estimated_duration_unit, rows.assigned_person_uuid,
      rows.counts_weekends, rows.track_progress, rows.translations
    from pairs
    inner join public.project_assignments as rows on rows.uuid = pairs.old
  )
  insert into public.project_dependencies (project_uuid, assignment_uuid, depends_on_uuid)
  select p_target, waiting.new, needed.new
  from public.project_dependencies as edges
  inner join pairs as waiting on waiting.old = edges.assignment_uuid
  inner join pairs as needed on needed.old = edges.depends_on_uuid
  where edges.project_uuid = p_source;
$body$;
comment on function app.clone_rows(uuid, uuid) is
'Copy the rows of a project, and what waits for what, into an empty one. All begin at todo.';

create or replace function app.delete_project_tree(p_project_uuid uuid)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $body$
declare
  v_project public.projects := app.lock_project(p_project_uuid);
begin
  delete from public.projects as projects where projects.uuid = p_project_uuid;
  perform app.record_activity(
    case when v_project.is_template then 'template_deleted' else 'project_deleted' end,
    'project', p_project_uuid, jsonb_build_object('name', v_project.name)
  );
  return 1;
end;
$body$;
comment on function app.delete_project_tree(uuid) is
'Delete a project and all it owns, one activity for each project removed; how many those were. Raises NOT_FOUND.';

create or replace function public.delete_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  delete from public.project_assignments as rows where rows.uuid = p_row_uuid;
  perform app.record_activity(
    'assignment_removed', 'assignment', p_row_uuid,
    jsonb_build_object('project_uuid', v_row.project_uuid, 'task_uuid', v_row.task_uuid)
  );
  return to_jsonb(v_row);
end;
$body$;
comment on function public.delete_assignment(uuid) is
'Remove a row and what waits for it or it for. Returns what it was. A project that loses its last open row is completed; one that loses its last row stays as it is.

Role: Supervisor. Errors: NOT_FOUND.';
end;
$$;
drop function if exists
public.project_breadcrumbs, public.project_tree, public.available_projects_to_link,
public.detach_subproject, public.link_subproject, public.create_subproject, app.insert_link;

commit;
