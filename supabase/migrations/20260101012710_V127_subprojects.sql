-- V127 sub-projects: put a project into another, take it out, see the whole, copy and delete it.
--
-- Replaces: app.clone_rows, app.delete_project_tree, public.delete_assignment
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.insert_link(p_event text, p_parent uuid, p_child uuid)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_row_uuid uuid;
  v_child public.projects;
begin
  insert into public.project_assignments (project_uuid, child_project_uuid, position)
  select p_parent, p_child, coalesce(max(rows.position), 0) + 1
  from public.project_assignments as rows
  where rows.project_uuid = p_parent
  returning project_assignments.uuid into v_row_uuid;
  v_child := app.find_project(p_child);
  perform app.record_activity(p_event, 'assignment', v_row_uuid, jsonb_build_object(
    'project_uuid', p_parent, 'child_project_uuid', p_child, 'name', v_child.name
  ));
  return app.describe_project(v_child)
    || jsonb_build_object('parent_project_uuid', p_parent, 'row_uuid', v_row_uuid);
end;
$$;
comment on function app.insert_link is
'Make a project the last row of another, both locked; the project, with where it lies now.';

create or replace function app.clone_rows(p_source uuid, p_target uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old uuid[];
  v_new uuid[];
begin
  with recursive tree (project_uuid) as (
    select p_source
    union all
    select links.child_project_uuid
    from tree
    inner join public.project_assignments as links
      on links.project_uuid = tree.project_uuid and links.child_project_uuid is not null
  )
  select
    array_agg(tree.project_uuid),
    array_agg(case tree.project_uuid when p_source then p_target else gen_random_uuid() end)
  into v_old, v_new
  from tree;

  -- at once, not when their day comes: the date was the template's
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

  -- one statement: foreign keys, cycles and sums are seen to once, when all of it is there
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
comment on function app.clone_rows is
'Copy the rows of a project, what waits for what, and the projects inside it at any depth, into an empty one. All begin at todo, none with a date.';

create or replace function app.delete_project_tree(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects := app.lock_project(p_project_uuid);
  v_tree uuid[];
begin
  if exists (
    select from public.project_assignments as links where links.child_project_uuid = p_project_uuid
  ) then
    perform app.fail(
      'STILL_A_SUBPROJECT', 'The project lies inside another: detach it, or delete its row there.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  with recursive tree (project_uuid, level) as (
    select p_project_uuid, 0
    union all
    select links.child_project_uuid, tree.level + 1
    from tree
    inner join public.project_assignments as links
      on links.project_uuid = tree.project_uuid and links.child_project_uuid is not null
  )
  select array_agg(tree.project_uuid order by tree.level) into v_tree from tree;
  perform app.record_activity(
    case when v_project.is_template then 'template_deleted' else 'project_deleted' end,
    'project', doomed.uuid, jsonb_build_object('name', doomed.name)
  )
  from unnest(v_tree) with ordinality as tree (project_uuid, place)
  inner join public.projects as doomed on doomed.uuid = tree.project_uuid
  order by tree.place;
  -- rows first, all at once: then no link holds a project, and no project is completed on the way
  delete from public.project_assignments as rows where rows.project_uuid = any(v_tree);
  delete from public.projects as projects where projects.uuid = any(v_tree);
  return cardinality(v_tree);
end;
$$;
comment on function app.delete_project_tree is
'Delete a project, all it owns and all that lies inside it, one activity for each project removed, top first; how many those were. Raises NOT_FOUND and STILL_A_SUBPROJECT.';

-- Functions, public
create or replace function public.create_subproject(
  p_project_uuid uuid, p_name text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_parent public.projects;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(
    p_attrs, 'description', 'counts_weekends', 'translations', 'assigned_person_uuid'
  );
  v_parent := app.lock_project(p_project_uuid);
  return app.insert_link(
    'subproject_created', p_project_uuid,
    (
      public.create_project(
        p_name, p_attrs || jsonb_build_object('is_template', v_parent.is_template)
      ) ->> 'uuid'
    )::uuid
  );
end;
$$;
comment on function public.create_subproject is
'Make a project inside another, as its last row; inside a template, a template. Returns it with parent_project_uuid and row_uuid.

Attributes: description, counts_weekends, translations, assigned_person_uuid. While it has no rows it counts for nothing in the progress of the other, but keeps it from completion.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, TOO_DEEP.';
grant execute on function public.create_subproject to authenticated;

create or replace function public.link_subproject(p_project_uuid uuid, p_child_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_parent public.projects;
  v_child public.projects;
  v_detail jsonb := jsonb_build_object(
    'project_uuid', p_project_uuid, 'child_project_uuid', p_child_project_uuid
  );
begin
  perform app.require('Supervisor');
  perform app.lock_forest(true);
  v_parent := app.lock_project(p_project_uuid);
  v_child := app.lock_project(p_child_project_uuid);
  if p_project_uuid = p_child_project_uuid then
    perform app.fail('SELF_LINK', 'A project cannot lie inside itself.', v_detail);
  end if;
  if v_parent.is_template <> v_child.is_template then
    perform app.fail(
      'KIND_MISMATCH', 'Templates hold templates, projects hold projects.', v_detail
    );
  end if;
  if exists (
    select from app.project_lineage(p_project_uuid) as lineage
    where lineage.project_uuid = p_child_project_uuid
  ) then
    perform app.fail('WOULD_CREATE_CYCLE', 'A project would come to lie inside itself.', v_detail);
  end if;
  if exists (
    select from public.project_assignments as links
    where links.child_project_uuid = p_child_project_uuid
  ) then
    perform app.fail('ALREADY_SUBPROJECT', 'The project lies inside another already.', v_detail);
  end if;
  return app.insert_link('subproject_linked', p_project_uuid, p_child_project_uuid);
end;
$$;
comment on function public.link_subproject is
'Put a project, with all that lies inside it, into another of its kind, as the last row. Returns it with parent_project_uuid and row_uuid.

A completed project that takes in one that is not is reopened.

Role: Supervisor. Errors: NOT_FOUND, SELF_LINK, KIND_MISMATCH, WOULD_CREATE_CYCLE, ALREADY_SUBPROJECT, TOO_DEEP.';
grant execute on function public.link_subproject to authenticated;

create or replace function public.detach_subproject(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_forest(true);
  v_row := app.lock_row(p_row_uuid);
  if v_row.child_project_uuid is null then
    perform app.fail(
      'NOT_FOUND', 'That row is no sub-project.', jsonb_build_object('row_uuid', p_row_uuid)
    );
  end if;
  delete from public.project_assignments as rows where rows.uuid = p_row_uuid;
  perform app.record_activity('subproject_detached', 'project', v_row.child_project_uuid,
    jsonb_build_object(
      'project_uuid', v_row.child_project_uuid, 'parent_project_uuid', v_row.project_uuid
    )
  );
  return app.describe_project(app.find_project(v_row.child_project_uuid));
end;
$$;
comment on function public.detach_subproject is
'Take a sub-project, named by its row, out of what it lies inside: it stands in lists again, with all it has. What waited for the row waits no more. Returns the project.

The other is completed, if it has rows left and all are done.

Role: Supervisor. Errors: NOT_FOUND (no such row, or the row of a task).';
grant execute on function public.detach_subproject to authenticated;

create or replace function public.delete_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  delete from public.project_assignments as rows where rows.uuid = p_row_uuid;
  perform app.record_activity(
    'assignment_removed', 'assignment', p_row_uuid,
    jsonb_strip_nulls(jsonb_build_object(
      'project_uuid', v_row.project_uuid, 'task_uuid', v_row.task_uuid,
      'child_project_uuid', v_row.child_project_uuid
    ))
  );
  if v_row.child_project_uuid is not null then
    perform app.delete_project_tree(v_row.child_project_uuid);
  end if;
  return to_jsonb(v_row);
end;
$$;

comment on function public.delete_assignment is
'Remove a row and what waits for it or it for. A sub-project goes with its row, and with all that lies inside it. Returns what the row was. A project that loses its last open row is completed; one that loses its last row stays as it is.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.delete_assignment to authenticated;

create or replace function public.available_projects_to_link(
  p_project_uuid uuid, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Staff');
  v_project := app.find_project(p_project_uuid);
  return query
  select app.describe_project(projects, p_language)
  from public.projects as projects
  inner join app.root_projects as roots on roots.uuid = projects.uuid
  where projects.is_template = v_project.is_template
  and projects.archived_at is null
  and projects.uuid not in (
    select lineage.project_uuid from app.project_lineage(p_project_uuid) as lineage
  )
  order by projects.name, projects.uuid;
end;
$$;
comment on function public.available_projects_to_link is
'What link_subproject would take into this project, by name: of its kind, not archived, not inside another, and not what it lies inside itself.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.available_projects_to_link to authenticated;

create or replace function public.project_tree(p_project_uuid uuid, p_language text default null)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  perform app.find_project(p_project_uuid);
  return query
  with recursive tree (project_uuid, parent_uuid, row_uuid, path) as (
    select p_project_uuid, null::uuid, null::uuid, '{}'::integer[]
    union all
    select links.child_project_uuid, links.project_uuid, links.uuid, tree.path || links.position
    from tree
    inner join public.project_assignments as links
      on links.project_uuid = tree.project_uuid and links.child_project_uuid is not null
  )
  select app.describe_project(projects, p_language) || jsonb_build_object(
    'level', cardinality(tree.path), 'parent_project_uuid', tree.parent_uuid,
    'row_uuid', tree.row_uuid
  )
  from tree
  inner join public.projects as projects on projects.uuid = tree.project_uuid
  order by tree.path;
end;
$$;
comment on function public.project_tree is
'A project and all that lies inside it, as get_project returns them, each below what it lies inside and in the order of its rows: with level (0 for the first), parent_project_uuid and row_uuid.

empty: how many of its sub-projects have no rows. They count for nothing in progress_pct, but while there is one the project is not completed, even at 100.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.project_tree to authenticated;

create or replace function public.project_breadcrumbs(
  p_project_uuid uuid, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  perform app.find_project(p_project_uuid);
  return query
  select jsonb_build_object(
    'uuid', projects.uuid,
    'label', app.translate(projects.name, projects.translations, 'name', p_language),
    'is_template', projects.is_template, 'archived_at', projects.archived_at
  )
  from app.project_lineage(p_project_uuid) as lineage
  inner join public.projects as projects on projects.uuid = lineage.project_uuid
  order by lineage.distance desc;
end;
$$;
comment on function public.project_breadcrumbs is
'The way from the root down to a project, itself included: uuid, label, is_template, archived_at.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.project_breadcrumbs to authenticated;

select app.assert_grants();

commit;
