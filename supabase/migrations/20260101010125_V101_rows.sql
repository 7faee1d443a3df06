-- V101 rows: what there is to do in a project, how far it is, and in which order.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.insert_row(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb, p_copy boolean
)
returns public.project_assignments
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
  v_task public.project_tasks;
  v_constraint text;
begin
  perform app.check_attrs(
    p_attrs, 'description', 'estimated_duration', 'estimated_duration_unit',
    'assigned_person_uuid', 'counts_weekends', 'track_progress', 'translations'
  );
  select tasks.* into v_task
  from public.project_tasks as tasks where tasks.uuid = p_task_uuid
  for key share;
  if not found then
    perform app.fail('NOT_FOUND', 'No such task.', jsonb_build_object('task_uuid', p_task_uuid));
  end if;
  v_row := jsonb_populate_record(
    null::public.project_assignments,
    '{"track_progress": false, "translations": {}}' || case when p_copy then jsonb_build_object(
      'description', v_task.description, 'estimated_duration', v_task.estimated_duration,
      'estimated_duration_unit', v_task.estimated_duration_unit,
      'assigned_person_uuid', v_task.default_assigned_person_uuid
    ) else '{}' end || (
      select coalesce(jsonb_object_agg(given.key, given.value), '{}')
      from jsonb_each(p_attrs) as given
      where btrim(p_attrs ->> given.key) <> ''
    )
  );
  insert into public.project_assignments (
    project_uuid, task_uuid, position, description, estimated_duration, estimated_duration_unit,
    assigned_person_uuid, counts_weekends, track_progress, translations
  )
  select
    p_project_uuid, p_task_uuid, coalesce(max(rows.position), 0) + 1, v_row.description,
    v_row.estimated_duration, v_row.estimated_duration_unit, v_row.assigned_person_uuid,
    v_row.counts_weekends, v_row.track_progress, v_row.translations
  from public.project_assignments as rows
  where rows.project_uuid = p_project_uuid
  returning project_assignments.* into v_row;
  perform app.record_activity(
    'assignment_created', 'assignment', v_row.uuid,
    jsonb_build_object('project_uuid', p_project_uuid, 'task_uuid', p_task_uuid)
  );
  return v_row;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function app.insert_row is
'Add a row at the end of a project that is locked; p_copy fills what the caller leaves blank from the task. Raises NOT_FOUND and BAD_INPUT.';

create or replace function app.wire_rows(
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
comment on function app.wire_rows is
'Let rows wait for one another as their tasks do in the library: whatever touches p_rows, in both directions, and whatever lies within the tasks of p_tree; never an excluded task. How many edges that made. Raises WOULD_CREATE_CYCLE.';

create or replace function app.set_progress(
  p_row_uuid uuid, p_status text, p_progress integer
)
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
'Move a row to a status, with its slider, for Staff; no slider keeps what there is below 100. Raises NOT_FOUND.';

create or replace function app.place_rows(p_project_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_found uuid[];
  v_positions integer[];
begin
  select array_agg(rows.uuid), array_agg(rows.position) into v_found, v_positions
  from public.project_assignments as rows
  where rows.project_uuid = p_project_uuid and rows.uuid = any(p_uuids);
  update public.project_assignments as rows set position = places.place
  from app.take_places(p_uuids, v_found, v_positions) as places
  where rows.uuid = places.uuid and rows.position <> places.place;
  if v_found is not null then
    perform app.record_activity(
      'assignments_reordered', 'project', p_project_uuid,
      jsonb_build_object('project_uuid', p_project_uuid, 'count', cardinality(v_found))
    );
  end if;
  return coalesce(cardinality(v_found), 0);
end;
$$;
comment on function app.place_rows is
'Put these rows of a project that is locked in this order, in the places they hold together; how many there were.';

-- Functions, public: reading and making rows
create or replace function public.list_assignments(
  p_project_uuid uuid, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select to_jsonb(assignments) || jsonb_build_object(
    'label', app.translate(rows.title, rows.title_translations, rows.title_field, p_language),
    'about', coalesce(
      app.translate(assignments.description, assignments.translations, 'description', p_language),
      (
        select app.translate(tasks.description, tasks.translations, 'description', p_language)
        from public.project_tasks as tasks where tasks.uuid = assignments.task_uuid
      )
    ),
    'hours', rows.hours,
    'depends_on', waits.depends_on,
    'waits_for', waits.waits_for,
    'ready', waits.waits_for = '[]'
  )
  from app.project_rows as rows
  inner join public.project_assignments as assignments on assignments.uuid = rows.row_uuid
  cross join lateral (
    select
      coalesce(jsonb_agg(needed.uuid order by needed.position), '[]') as depends_on,
      coalesce(
        jsonb_agg(needed.uuid order by needed.position) filter (where needed.status <> 'done'), '[]'
      ) as waits_for
    from public.project_dependencies as edges
    inner join public.project_assignments as needed on needed.uuid = edges.depends_on_uuid
    where edges.project_uuid = p_project_uuid and edges.assignment_uuid = rows.row_uuid
  ) as waits
  where rows.project_uuid = p_project_uuid
  order by rows.position;
end;
$$;
comment on function public.list_assignments is
'The rows of a project in their order, each with its label and text in a language, its hours, what it depends on, and what of that is not done yet.

ready: it waits for nothing. A row that is not ready can be worked on all the same.

Role: Staff.';
grant execute on function public.list_assignments to authenticated;

create or replace function public.create_assignment(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_project(p_project_uuid);
  v_row := app.insert_row(p_project_uuid, p_task_uuid, p_attrs, false);
  perform app.wire_rows(p_project_uuid, array[v_row.uuid]);
  return to_jsonb(v_row);
end;
$$;
comment on function public.create_assignment is
'Add a row for a task, at the end. What it says nothing about follows the task from then on. It waits for the rows its task waits for, and theirs for it.

Attributes: description, estimated_duration, estimated_duration_unit, assigned_person_uuid, counts_weekends, track_progress, translations.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, WOULD_CREATE_CYCLE.';
grant execute on function public.create_assignment to authenticated;

create or replace function public.create_assignment_from_task(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_project(p_project_uuid);
  v_row := app.insert_row(p_project_uuid, p_task_uuid, p_attrs, true);
  perform app.wire_rows(p_project_uuid, array[v_row.uuid]);
  return to_jsonb(v_row);
end;
$$;
comment on function public.create_assignment_from_task is
'As create_assignment, but description, estimate and person are copied from the task where the caller leaves them blank. The title is not: it follows the task.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, WOULD_CREATE_CYCLE.';
grant execute on function public.create_assignment_from_task to authenticated;

create or replace function public.create_assignment_with_closure(
  p_project_uuid uuid, p_task_uuid uuid, p_excluded uuid[] default '{}',
  p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_excluded uuid[] := array_remove(coalesce(p_excluded, '{}'), p_task_uuid);
  v_tree uuid[];
  v_extras public.project_assignments[] := '{}'::public.project_assignments[];
  v_task_uuid uuid;
  v_root public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_project(p_project_uuid);
  v_tree := array(
    with recursive tree (task_uuid, depth) as (
      select p_task_uuid, 0
      union
      select edges.depends_on_task_uuid, tree.depth + 1
      from tree
      inner join public.project_task_dependencies as edges on edges.task_uuid = tree.task_uuid
      where edges.depends_on_task_uuid <> all(v_excluded)
    )
    select tree.task_uuid from tree
    inner join public.project_tasks as tasks on tasks.uuid = tree.task_uuid
    group by tree.task_uuid, tasks.position
    order by max(tree.depth) desc, tasks.position
  );
  foreach v_task_uuid in array v_tree loop
    if v_task_uuid <> p_task_uuid and not exists (
      select from public.project_assignments as rows
      where rows.project_uuid = p_project_uuid and rows.task_uuid = v_task_uuid
    ) then
      v_extras := v_extras || app.insert_row(p_project_uuid, v_task_uuid, '{}', true);
    end if;
  end loop;
  v_root := app.insert_row(p_project_uuid, p_task_uuid, p_attrs, true);
  perform app.wire_rows(
    p_project_uuid,
    array(select made.uuid from unnest(v_extras) as made) || v_root.uuid, v_tree, v_excluded
  );
  return jsonb_build_object('root', to_jsonb(v_root), 'extras', to_jsonb(v_extras));
end;
$$;
comment on function public.create_assignment_with_closure is
'Add a row for a task and, before it, for the tasks it waits for, directly or not, that the project does not have yet. All are wired as in the library. Returns {root, extras}.

p_excluded names tasks to leave out; what is reached only through them is left out too, and nothing is wired to them. Attributes are for the task itself, as in create_assignment_from_task.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, WOULD_CREATE_CYCLE.';
grant execute on function public.create_assignment_with_closure to authenticated;

create or replace function public.update_assignment(p_row_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.project_assignments;
  v_new public.project_assignments;
  v_constraint text;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(
    p_attrs, 'description', 'estimated_duration', 'estimated_duration_unit',
    'assigned_person_uuid', 'counts_weekends', 'track_progress', 'translations'
  );
  v_old := app.lock_row(p_row_uuid);
  v_new := jsonb_populate_record(v_old, p_attrs);
  if v_new is distinct from v_old then
    update public.project_assignments as rows
    set
      description = v_new.description, estimated_duration = v_new.estimated_duration,
      estimated_duration_unit = v_new.estimated_duration_unit,
      assigned_person_uuid = v_new.assigned_person_uuid, counts_weekends = v_new.counts_weekends,
      track_progress = v_new.track_progress, translations = v_new.translations
    where rows.uuid = p_row_uuid
    returning rows.* into v_new;
    perform app.record_activity(
      'assignment_updated', 'assignment', p_row_uuid, jsonb_build_object(
        'project_uuid', v_new.project_uuid,
        'changed', (select jsonb_agg(keys.key) from jsonb_object_keys(p_attrs) as keys (key))
      )
    );
  end if;
  return to_jsonb(v_new);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.update_assignment is
'Change a row; how far it is has functions of its own. Attributes as create_assignment; those left out stay, null goes back to the task.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, SUBPROJECT_ROW (with V127: what its own rows decide).';
grant execute on function public.update_assignment to authenticated;

-- Functions, public: how far it is
create or replace function public.complete_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return app.set_progress(p_row_uuid, 'done', 100);
end;
$$;
comment on function public.complete_assignment is
'Finish a row; with the last one the project is completed. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW (with V127).';
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
'Put a row back to the beginning, and with it a completed project to running. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW (with V127).';
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
'Begin a row. One that was done starts at 0 again. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW (with V127).';
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
'Move the slider of a row: 100 completes it, 0 reopens it, between it is in progress. Null is 0, and what lies outside 0 to 100 the nearer end.

Role: Staff. Errors: NOT_FOUND, SUBPROJECT_ROW (with V127).';
grant execute on function public.set_assignment_progress to authenticated;

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
    jsonb_build_object('project_uuid', v_row.project_uuid, 'task_uuid', v_row.task_uuid)
  );
  return to_jsonb(v_row);
end;
$$;
comment on function public.delete_assignment is
'Remove a row and what waits for it or it for. Returns what it was. A project that loses its last open row is completed; one that loses its last row stays as it is.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.delete_assignment to authenticated;

-- Functions, public: their order
create or replace function public.move_assignment(
  p_row_uuid uuid, p_before_uuid uuid default null
)
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
      'NOT_FOUND', 'The project has no such row.', jsonb_build_object('row_uuid', p_before_uuid)
    );
  end if;
  return app.place_rows(v_row.project_uuid, array(
    select rows.uuid from public.project_assignments as rows
    where rows.project_uuid = v_row.project_uuid
    order by
      case when rows.uuid = p_row_uuid then v_before else rows.position end nulls last,
      rows.uuid <> p_row_uuid
  ));
end;
$$;
comment on function public.move_assignment is
'Move a row before another of its project, or to the end. Returns how many rows the project has.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.move_assignment to authenticated;

create or replace function public.reorder_assignments(p_project_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_order(p_uuids);
  perform app.lock_project(p_project_uuid);
  if exists (
    select from public.project_assignments as rows
    where rows.uuid = any(p_uuids) and rows.project_uuid <> p_project_uuid
  ) then
    perform app.fail('BAD_INPUT', 'Not all of these rows belong to this project.');
  end if;
  return app.place_rows(p_project_uuid, p_uuids);
end;
$$;
comment on function public.reorder_assignments is
'Put these rows of a project in this order, in the places they hold together; the others keep theirs. Unknown ids count for nothing, of a double the last counts.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (more than 1000 ids, or a row of another project).';
grant execute on function public.reorder_assignments to authenticated;

create or replace function public.reorder_assignments_by(
  p_project_uuid uuid, p_strategy text, p_uuids uuid[] default null
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_uuids uuid[];
begin
  perform app.require('Supervisor');
  perform app.check_strategy(p_strategy);
  perform app.check_order(coalesce(p_uuids, '{}'));
  perform app.lock_project(p_project_uuid);
  select array_agg(
    rows.row_uuid order by
      case p_strategy when 'name_asc' then lower(rows.title) end,
      case p_strategy when 'name_desc' then lower(rows.title) end desc,
      case p_strategy when 'created_asc' then assignments.inserted_at end,
      case p_strategy when 'created_desc' then assignments.inserted_at end desc,
      case p_strategy when 'reverse' then rows.position end desc,
      rows.row_uuid
  ) into v_uuids
  from app.project_rows as rows
  inner join public.project_assignments as assignments on assignments.uuid = rows.row_uuid
  where rows.project_uuid = p_project_uuid
  and (p_uuids is null or rows.row_uuid = any(p_uuids));
  return app.place_rows(p_project_uuid, v_uuids);
end;
$$;
comment on function public.reorder_assignments_by is
'Sort the rows of a project: all of them, or those given in the places they hold together.

p_strategy: name_asc, name_desc, created_asc, created_desc or reverse.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.reorder_assignments_by to authenticated;

select app.assert_grants();

commit;
