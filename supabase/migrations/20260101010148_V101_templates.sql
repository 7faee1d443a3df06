-- V101 templates: create a project from a template.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.copy_project_tree(p_source uuid, p_target uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old uuid[];
  v_new uuid[];
begin
  select
    array_agg(tree.project_uuid),
    array_agg(case tree.project_uuid when p_source then p_target else gen_random_uuid() end)
  into v_old, v_new
  from app.project_tree(p_source) as tree;

  -- start_mode keeps its default, immediate, and the start date of the template is not copied
  insert into public.projects (
    uuid, name, description, is_template, counts_weekends, translations, assigned_person_uuid,
    created_from_template_uuid
  )
  select
    clones.new, projects.name, projects.description, targets.is_template,
    projects.counts_weekends, projects.translations, projects.assigned_person_uuid, projects.uuid
  from unnest(v_old, v_new) as clones (old, new)
  inner join public.projects as projects on projects.uuid = clones.old
  inner join public.projects as targets on targets.uuid = p_target
  where clones.old <> p_source;

  -- one statement, so that the keys, cycles and sums are checked only once, at the end
  with clones as materialized (
    select clones.old, clones.new from unnest(v_old, v_new) as clones (old, new)
  ),
  pairs as materialized (
    select rows.uuid as old, gen_random_uuid() as new, clones.new as project_uuid
    from clones
    inner join public.project_assignments as rows on rows.project_uuid = clones.old
  ),
  cloned as (
    insert into public.project_assignments (
      uuid, project_uuid, task_uuid, child_project_uuid, position, description,
      estimated_duration, estimated_duration_unit, assigned_person_uuid, counts_weekends,
      track_progress, translations
    )
    select
      pairs.new, pairs.project_uuid, rows.task_uuid, children.new, rows.position,
      rows.description, rows.estimated_duration, rows.estimated_duration_unit,
      rows.assigned_person_uuid, rows.counts_weekends, rows.track_progress, rows.translations
    from pairs
    inner join public.project_assignments as rows on rows.uuid = pairs.old
    left join clones as children on children.old = rows.child_project_uuid
  )
  insert into public.project_dependencies (project_uuid, assignment_uuid, depends_on_uuid)
  select waiting.project_uuid, waiting.new, needed.new
  from clones
  inner join public.project_dependencies as edges on edges.project_uuid = clones.old
  inner join pairs as waiting on waiting.old = edges.assignment_uuid
  inner join pairs as needed on needed.old = edges.depends_on_uuid;
end;
$$;
comment on function app.copy_project_tree is
'Copies rows, dependencies and sub-projects of any depth into an empty project. Every copy starts at todo, without a scheduled start.';

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
    perform app.not_found('template', 'project_uuid', p_template_uuid);
  end if;
  if p_attrs ? 'is_template' then
    perform app.fail('BAD_INPUT', 'Leave out is_template: a template creates projects only.');
  end if;
  v_project := app.insert_project(p_name, p_attrs, v_template);
  perform app.copy_project_tree(p_template_uuid, v_project.uuid);
  perform app.record_activity(
    'project_created_from_template', 'project', v_project.uuid,
    jsonb_build_object('name', v_project.name, 'template_uuid', p_template_uuid)
  );
  return app.describe_project(v_project);
end;
$$;
comment on function public.create_project_from_template is
'Creates a project with the rows, dependencies and sub-projects of a template.

All rows start at todo. Attributes: those of create_project except is_template. Description, schedule and person are not copied. counts_weekends comes from the template unless given.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.create_project_from_template to authenticated;

select app.assert_grants();
commit;
