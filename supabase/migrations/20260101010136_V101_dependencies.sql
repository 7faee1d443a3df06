-- V101 dependencies: which row of a project waits for which.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.project_dependencies (
  project_uuid uuid not null,
  assignment_uuid uuid not null,
  depends_on_uuid uuid not null,
  inserted_at timestamptz not null default app.now(),
  primary key (project_uuid, assignment_uuid, depends_on_uuid),
  constraint project_dependencies_assignment_fkey foreign key (project_uuid, assignment_uuid)
  references public.project_assignments (project_uuid, uuid) on delete cascade,
  constraint project_dependencies_depends_on_fkey foreign key (project_uuid, depends_on_uuid)
  references public.project_assignments (project_uuid, uuid) on delete cascade,
  constraint project_dependencies_self_check check (assignment_uuid <> depends_on_uuid)
);
create index if not exists project_dependencies_reverse_idx
on public.project_dependencies (project_uuid, depends_on_uuid);
alter table public.project_dependencies enable row level security;
comment on table public.project_dependencies is
'The row on the left waits for the row on the right, in the same project. Cycles are rejected. A dependency blocks no work. Reads show it.';
grant select on table public.project_dependencies to authenticated;

create or replace function app.forbid_cycles()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.lock_project_trees(array(select made.project_uuid from made));
  if exists (
    with recursive reached (origin, row_uuid, project_uuid) as (
      select made.assignment_uuid, made.depends_on_uuid, made.project_uuid from made
      union
      select reached.origin, edges.depends_on_uuid, edges.project_uuid
      from reached
      inner join public.project_dependencies as edges
        on edges.project_uuid = reached.project_uuid and edges.assignment_uuid = reached.row_uuid
    )
    select from reached where reached.row_uuid = reached.origin
  ) then
    perform app.fail('WOULD_CREATE_CYCLE', 'The dependency would make a row wait for itself.');
  end if;
  return null;
end;
$$;
comment on function app.forbid_cycles is
'Trigger: rejects a cycle of dependencies between rows, under the lock of the project. Raises WOULD_CREATE_CYCLE.';

create or replace function app.copy_task_dependencies(
  p_project_uuid uuid, p_rows uuid[], p_tree uuid[] default '{}', p_excluded uuid[] default '{}'
)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_wired integer;
begin
  insert into public.project_dependencies (project_uuid, assignment_uuid, depends_on_uuid)
  select rows.project_uuid, rows.uuid, needed.uuid
  from public.project_assignments as rows
  inner join public.project_task_dependencies as edges on edges.task_uuid = rows.task_uuid
  inner join public.project_assignments as needed
    on needed.project_uuid = rows.project_uuid and needed.task_uuid = edges.depends_on_task_uuid
  where rows.project_uuid = p_project_uuid
  and (
    rows.uuid = any(p_rows) or needed.uuid = any(p_rows)
    or rows.task_uuid = any(p_tree) and needed.task_uuid = any(p_tree)
  )
  and rows.task_uuid <> all(p_excluded) and needed.task_uuid <> all(p_excluded)
  on conflict do nothing;
  get diagnostics v_wired = row_count;
  return v_wired;
end;
$$;
comment on function app.copy_task_dependencies is
'Copies dependencies from the library to the rows of a project. Covers p_rows in both directions, and all rows whose tasks are in p_tree. Skips excluded tasks. Returns the number of dependencies added. Raises WOULD_CREATE_CYCLE.';

create or replace function public.add_dependency(p_row_uuid uuid, p_depends_on_uuid uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  if not exists (
    select from public.project_assignments as rows where rows.uuid = p_depends_on_uuid
  ) then
    perform app.not_found('row', 'row_uuid', p_depends_on_uuid);
  end if;
  insert into public.project_dependencies (project_uuid, assignment_uuid, depends_on_uuid)
  values (v_row.project_uuid, p_row_uuid, p_depends_on_uuid);
  perform app.record_activity(
    'dependency_added', 'assignment', p_row_uuid, jsonb_build_object(
      'project_uuid', v_row.project_uuid, 'depends_on_uuid', p_depends_on_uuid
    )
  );
  return true;
exception
  when unique_violation then
    perform app.fail('CONFLICT', 'The row already waits for that row.');
    return null;
  when foreign_key_violation or check_violation then
    perform app.fail('BAD_INPUT', 'Pass two different rows of one project.', jsonb_build_object(
      'row_uuid', p_row_uuid, 'depends_on_uuid', p_depends_on_uuid
    ));
    return null;
end;
$$;
comment on function public.add_dependency is
'Makes a row wait for another row of the same project.

A dependency blocks no work. Reads show it.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (the same row, or a row of another project), CONFLICT (the dependency exists), WOULD_CREATE_CYCLE.';
grant execute on function public.add_dependency to authenticated;

create or replace function public.remove_dependency(p_row_uuid uuid, p_depends_on_uuid uuid)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  delete from public.project_dependencies as edges
  where edges.project_uuid = v_row.project_uuid
  and edges.assignment_uuid = p_row_uuid and edges.depends_on_uuid = p_depends_on_uuid;
  if not found then
    perform app.fail('NOT_FOUND', 'The row does not wait for that row.');
  end if;
  perform app.record_activity(
    'dependency_removed', 'assignment', p_row_uuid, jsonb_build_object(
      'project_uuid', v_row.project_uuid, 'depends_on_uuid', p_depends_on_uuid
    )
  );
  return true;
end;
$$;
comment on function public.remove_dependency is
'Removes a dependency between two rows.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.remove_dependency to authenticated;

create or replace function public.apply_template_dependencies(p_row_uuid uuid)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
  v_wired integer;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  v_wired := app.copy_task_dependencies(v_row.project_uuid, array[p_row_uuid]);
  if v_wired > 0 then
    perform app.record_activity(
      'template_dependencies_applied', 'assignment', p_row_uuid,
      jsonb_build_object('project_uuid', v_row.project_uuid, 'count', v_wired)
    );
  end if;
  return v_wired;
end;
$$;
comment on function public.apply_template_dependencies is
'Copies the current dependencies of a task to its row, in both directions.

A new row gets these dependencies when it is created. Returns the number of dependencies added.

Role: Supervisor. Errors: NOT_FOUND, WOULD_CREATE_CYCLE.';
grant execute on function public.apply_template_dependencies to authenticated;

create or replace trigger project_dependencies_forbid_cycles
after insert on public.project_dependencies referencing new table as made
for each statement execute function app.forbid_cycles();
-- A dependency is added or removed, never changed.
create or replace trigger project_dependencies_keep before update on public.project_dependencies
for each statement execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'project_dependencies_select_authenticated') then
    create policy project_dependencies_select_authenticated on public.project_dependencies
    for select to authenticated using ((select app.is_staff()));
  end if;
end;
$$;

select app.assert_grants();
commit;
