-- V101 dependencies: which row of a project waits for which.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, public
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
    perform app.fail('NOT_FOUND', 'No such row.', jsonb_build_object('row_uuid', p_depends_on_uuid));
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
    perform app.fail('CONFLICT', 'It waits for that already.');
    return null;
  when foreign_key_violation or check_violation then
    perform app.fail('BAD_INPUT', 'That takes two rows of one project.', jsonb_build_object(
      'row_uuid', p_row_uuid, 'depends_on_uuid', p_depends_on_uuid
    ));
    return null;
end;
$$;
comment on function public.add_dependency is
'Let a row wait for another of its project. That blocks nothing; reads show it.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (a row and itself, or one of another project), CONFLICT (it does already), WOULD_CREATE_CYCLE.';
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
    perform app.fail('NOT_FOUND', 'It does not wait for that.');
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
'Let a row no longer wait for another.

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
  v_wired := app.wire_rows(v_row.project_uuid, array[p_row_uuid]);
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
'Wire a row as its task is wired in the library by now, in both directions. Returns how many dependencies that added; making a row does it by itself.

Role: Supervisor. Errors: NOT_FOUND, WOULD_CREATE_CYCLE.';
grant execute on function public.apply_template_dependencies to authenticated;

select app.assert_grants();

commit;
