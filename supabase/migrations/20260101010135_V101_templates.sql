-- V101 templates: a project made from another that is kept for it.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.clone_rows(p_source uuid, p_target uuid)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function app.clone_rows is
'Copy the rows of a project, and what waits for what, into an empty one. All begin at todo.';

-- Functions, public
create or replace function public.create_project_from_template(
  p_template_uuid uuid, p_name text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_template public.projects;
  v_project public.projects;
begin
  perform app.require('Supervisor');
  v_template := app.lock_project(p_template_uuid);
  if not v_template.is_template then
    perform app.fail(
      'NOT_FOUND', 'That project is no template.', jsonb_build_object('project_uuid', p_template_uuid)
    );
  end if;
  if p_attrs ? 'is_template' then
    perform app.fail('BAD_INPUT', 'A template makes projects, not templates.');
  end if;
  v_project := app.insert_project(p_name, p_attrs, v_template);
  perform app.clone_rows(p_template_uuid, v_project.uuid);
  perform app.record_activity(
    'project_created_from_template', 'project', v_project.uuid,
    jsonb_build_object('name', v_project.name, 'template_uuid', p_template_uuid)
  );
  return app.describe_project(v_project);
end;
$$;
comment on function public.create_project_from_template is
'Make a project with the rows of a template, and what waits for what, all at todo. One activity for all of it.

Attributes: as create_project but is_template. Name, text, schedule and person are the caller''s alone; whether weekends count comes from the template unless given.

Role: Supervisor. Errors: NOT_FOUND (no such template), BAD_INPUT.';
grant execute on function public.create_project_from_template to authenticated;

select app.assert_grants();

commit;
