-- V101 row progress: complete, reopen, start, move and sort rows.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.set_progress(p_row_uuid uuid, p_status text, p_progress integer)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require('Staff');
  v_old public.project_assignments := app.lock_row(p_row_uuid);
  v_new public.project_assignments := v_old;
begin
  v_new.status := p_status;
  v_new.progress_pct := coalesce(
    p_progress, case when v_old.progress_pct < 100 then v_old.progress_pct else 0 end
  );
  if (v_new.status, v_new.progress_pct) = (v_old.status, v_old.progress_pct) then
    return to_jsonb(v_old) || '{"already_done": true}';
  end if;
  update public.project_assignments as rows
  set
    status = v_new.status, progress_pct = v_new.progress_pct,
    completed_at = case when v_new.status = 'done' then app.now() end,
    completed_by_uuid = case when v_new.status = 'done' then v_caller.user_id end
  where rows.uuid = p_row_uuid
  returning rows.* into v_new;
  perform app.record_activity(
    case
      when v_new.status = 'done' then 'assignment_completed'
      when v_new.status = 'todo' then 'assignment_reopened'
      when v_old.status = 'todo' then 'assignment_started'
      else 'assignment_progress_updated'
    end,
    'assignment', p_row_uuid, jsonb_build_object(
      'project_uuid', v_old.project_uuid, 'from', v_old.progress_pct, 'to', v_new.progress_pct
    )
  );
  return to_jsonb(v_new) || '{"already_done": false}';
end;
$$;
comment on function app.set_progress is
'Sets the status and progress of a row, for Staff. A null progress keeps a value below 100. Raises NOT_FOUND.';

create or replace function app.reorder_rows(p_project_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows app.placed[] := array(
    select row(rows.uuid, rows.position)::app.placed
    from public.project_assignments as rows
    where rows.project_uuid = p_project_uuid and rows.uuid = any(p_uuids)
  );
begin
  update public.project_assignments as rows set position = assigned.position
  from app.assign_positions(p_uuids, v_rows) as assigned
  where rows.uuid = assigned.uuid and rows.position <> assigned.position;
  return app.record_reordering('assignments_reordered', 'project', p_project_uuid, v_rows);
end;
$$;
comment on function app.reorder_rows is
'Sorts these rows of a locked project into the given sequence. They share the positions that they hold now. Returns the number of rows found.';

create or replace function public.complete_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_progress(p_row_uuid, 'done', 100);
end;
$$;
comment on function public.complete_assignment is
'Completes a row.

The project is completed with its last open row. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW.';
grant execute on function public.complete_assignment to authenticated;

create or replace function public.reopen_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_progress(p_row_uuid, 'todo', 0);
end;
$$;
comment on function public.reopen_assignment is
'Sets a row back to todo.

A completed project is reopened. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW.';
grant execute on function public.reopen_assignment to authenticated;

create or replace function public.start_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_progress(p_row_uuid, 'in_progress', null);
end;
$$;
comment on function public.start_assignment is
'Starts a row.

A row that was done starts at 0 again. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW.';
grant execute on function public.start_assignment to authenticated;

create or replace function public.set_assignment_progress(p_row_uuid uuid, p_progress integer)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_progress integer := greatest(0, least(100, coalesce(p_progress, 0)));
begin
  return app.set_progress(
    p_row_uuid,
    case v_progress when 0 then 'todo' when 100 then 'done' else 'in_progress' end, v_progress
  );
end;
$$;
comment on function public.set_assignment_progress is
'Sets the progress of a row.

100 completes the row, 0 reopens it, and any other value means in progress. Null means 0. A value outside 0 to 100 becomes the nearest limit.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW.';
grant execute on function public.set_assignment_progress to authenticated;

create or replace function public.move_assignment(p_row_uuid uuid, p_before_uuid uuid default null)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
  v_before integer;
begin
  perform app.require('Supervisor');
  v_row := app.lock_row(p_row_uuid);
  v_before := (
    select rows.position from public.project_assignments as rows
    where rows.uuid = p_before_uuid and rows.project_uuid = v_row.project_uuid
  );
  if p_before_uuid is not null and v_before is null then
    perform app.fail(
      'NOT_FOUND', format('The project has no row %s.', p_before_uuid),
      jsonb_build_object('row_uuid', p_before_uuid)
    );
  end if;
  return app.reorder_rows(v_row.project_uuid, array(
    select rows.uuid from public.project_assignments as rows
    where rows.project_uuid = v_row.project_uuid
    order by
      case when rows.uuid = p_row_uuid then v_before else rows.position end nulls last,
      rows.uuid <> p_row_uuid
  ));
end;
$$;
comment on function public.move_assignment is
'Moves a row before another row of its project, or to the end.

Returns the number of rows in the project.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.move_assignment to authenticated;

create or replace function public.reorder_assignments(p_project_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_id_list(p_uuids);
  perform app.lock_project(p_project_uuid);
  if exists (
    select from public.project_assignments as rows
    where rows.uuid = any(p_uuids) and rows.project_uuid <> p_project_uuid
  ) then
    perform app.fail(
      'BAD_INPUT', 'A row belongs to another project. Pass rows of this project only.'
    );
  end if;
  return app.reorder_rows(p_project_uuid, p_uuids);
end;
$$;
comment on function public.reorder_assignments is
'Sorts the given rows of a project into the given sequence.

The rows share the positions that they hold now. Every other row keeps its position. Unknown ids are ignored. If an id is given twice, the last one counts. Returns the number of rows found.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (more than 1,000 ids, or a row of another project).';
grant execute on function public.reorder_assignments to authenticated;

create or replace function public.reorder_assignments_by(
  p_project_uuid uuid, p_strategy text, p_uuids uuid[] default null
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_sort(p_strategy, p_uuids);
  perform app.lock_project(p_project_uuid);
  return app.reorder_rows(p_project_uuid, app.sorted_ids(p_strategy, array(
    select row(rows.row_uuid, rows.title, assignments.inserted_at, rows.position)::app.sortable
    from app.project_rows as rows
    inner join public.project_assignments as assignments on assignments.uuid = rows.row_uuid
    where rows.project_uuid = p_project_uuid
    and (p_uuids is null or rows.row_uuid = any(p_uuids))
  )));
end;
$$;
comment on function public.reorder_assignments_by is
'Sorts all rows of a project, or the given rows within the positions that they hold.

p_strategy must be name_asc, name_desc, created_asc, created_desc or reverse. Returns the number of rows sorted.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.reorder_assignments_by to authenticated;

select app.assert_grants();
commit;
