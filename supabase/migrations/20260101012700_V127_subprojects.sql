-- V127 subprojects: put a project inside another, take it out, show the tree.
-- Needs: M0 M1 V101
--
-- The first statements add the column for sub-projects to a database with an older V101. On a new
-- database V101 has already added it.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('ALREADY_SUBPROJECT', 'PT409', 'The project already lies inside another. Detach it there first.'),
('SELF_LINK', 'PT400', 'A project cannot lie inside itself.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

alter table public.project_assignments
add column if not exists child_project_uuid uuid
constraint project_assignments_child_project_fkey
references public.projects (uuid) on delete restrict,
alter column task_uuid drop not null;

create unique index if not exists project_assignments_child_project_key
on public.project_assignments (child_project_uuid) where child_project_uuid is not null;

do $$
begin
  if not exists (
    select from pg_constraint where conname = 'project_assignments_task_xor_child_check'
  ) then
    alter table public.project_assignments
    add constraint project_assignments_task_xor_child_check
    check (num_nonnulls(task_uuid, child_project_uuid) = 1);
  end if;
end;
$$;

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
'Adds a project as the last row of another project. Both must be locked. Returns the added project with its parent and row.';

create or replace function public.create_subproject(
  p_project_uuid uuid, p_name text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_parent public.projects;
  v_made jsonb;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(
    p_attrs, 'description', 'counts_weekends', 'translations', 'assigned_person_uuid'
  );
  v_parent := app.lock_project(p_project_uuid);
  v_made := public.create_project(
    p_name, p_attrs || jsonb_build_object('is_template', v_parent.is_template)
  );
  return app.insert_link('subproject_created', p_project_uuid, (v_made ->> 'uuid')::uuid);
end;
$$;
comment on function public.create_subproject is
'Creates a project inside another project, as its last row.

A template gets a template. Attributes: description, counts_weekends, translations, assigned_person_uuid. Returns the new project with parent_project_uuid and row_uuid. While the new project has no rows, the project around it cannot be completed.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, TOO_DEEP.';
grant execute on function public.create_subproject to authenticated;

create or replace function public.link_subproject(p_project_uuid uuid, p_child_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_parent public.projects;
  v_detail jsonb := jsonb_build_object(
    'project_uuid', p_project_uuid, 'child_project_uuid', p_child_project_uuid
  );
begin
  perform app.require('Supervisor');
  perform app.lock_project_structure(true);
  v_parent := app.lock_project(p_project_uuid);
  if v_parent.is_template <> (app.lock_project(p_child_project_uuid)).is_template then
    perform app.fail(
      'KIND_MISMATCH', 'A template can only hold templates, and a project only projects.', v_detail
    );
  end if;
  if p_project_uuid = p_child_project_uuid then
    perform app.fail('SELF_LINK', 'A project cannot lie inside itself. Pass two projects.', v_detail);
  end if;
  if p_child_project_uuid in (
    select lineage.project_uuid from app.project_lineage(p_project_uuid) as lineage
  ) then
    perform app.fail('WOULD_CREATE_CYCLE', 'The project would lie inside itself.', v_detail);
  end if;
  if not exists (select from app.root_projects as free where free.uuid = p_child_project_uuid) then
    perform app.fail(
      'ALREADY_SUBPROJECT', 'The project already lies inside another. Detach it there first.', v_detail
    );
  end if;
  return app.insert_link('subproject_linked', p_project_uuid, p_child_project_uuid);
end;
$$;
comment on function public.link_subproject is
'Puts a project inside another project of its kind, as its last row.

Every project inside comes along. Returns the project with parent_project_uuid and row_uuid. A completed project is reopened if the added project is not completed.

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
  perform app.lock_project_structure(true);
  v_row := app.lock_row(p_row_uuid);
  if v_row.child_project_uuid is null then
    perform app.not_found('sub-project in row', 'row_uuid', p_row_uuid);
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
'Removes a row that is a sub-project from its project. The sub-project becomes a root project.

The sub-project keeps everything in it and appears in lists again. Dependencies of the row are deleted. The outer project is completed if all its remaining rows are done. Returns the sub-project.

Role: Supervisor. Errors: NOT_FOUND (no such row, or the row of a task).';
grant execute on function public.detach_subproject to authenticated;

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
'Lists the projects that link_subproject accepts for this project, by name.

Includes root projects of the same kind that are not archived. Excludes the project itself and every outer project.

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
  select app.describe_project(projects, p_language) || jsonb_build_object(
    'level', cardinality(tree.path), 'parent_project_uuid', tree.parent_uuid,
    'row_uuid', tree.row_uuid
  )
  from app.project_tree(p_project_uuid) as tree
  inner join public.projects as projects on projects.uuid = tree.project_uuid
  order by tree.path;
end;
$$;
comment on function public.project_tree is
'Returns a project and every project inside it, as get_project does.

Each project follows its outer project, in the sequence of the rows. level is 0 for the first project. parent_project_uuid and row_uuid name the place of the others. empty counts the sub-projects without rows. They do not count in progress_pct, but they prevent completion.

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
'Returns the path from the root down to a project.

Each step has uuid, label, is_template and archived_at.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.project_breadcrumbs to authenticated;

select app.assert_grants();
commit;
