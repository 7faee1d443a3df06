-- V101 rows: create, change, list and delete the rows of a project.
-- Needs: M0 M1
--
-- delete_task is in this file because it counts the rows that use the task.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

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
    perform app.not_found('task', 'task_uuid', p_task_uuid);
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
    perform app.fail_constraint(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function app.insert_row is
'Adds a row at the end of a locked project. With p_copy, blank attributes are copied from the task. Raises NOT_FOUND and BAD_INPUT.';

create or replace function app.create_row(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb, p_copy boolean
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_project(p_project_uuid);
  v_row := app.insert_row(p_project_uuid, p_task_uuid, p_attrs, p_copy);
  perform app.copy_task_dependencies(p_project_uuid, array[v_row.uuid]);
  return to_jsonb(v_row);
end;
$$;
comment on function app.create_row is
'Adds a row for a task, with the dependencies of the task, for Supervisors. Raises NOT_FOUND, BAD_INPUT and WOULD_CREATE_CYCLE.';

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
      app.translate(assignments.description, assignments.translations, 'description', p_language), (
        select app.translate(tasks.description, tasks.translations, 'description', p_language)
        from public.project_tasks as tasks where tasks.uuid = assignments.task_uuid
      )
    ),
    'hours', rows.hours, 'depends_on', waits.depends_on, 'waits_for', waits.waits_for,
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
'Lists the rows of a project.

Returns every row with its texts in the given language, its hours, and the rows that it depends on. waits_for names those that are not done. ready is true when waits_for is empty. A row that is not ready can still be worked on.

Role: Staff.';
grant execute on function public.list_assignments to authenticated;

create or replace function public.create_assignment(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb default '{}'
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.create_row(p_project_uuid, p_task_uuid, p_attrs, false);
$$;
comment on function public.create_assignment is
'Creates a row for a task, at the end of a project.

Description and estimate follow the task while they are blank. The row gets the dependencies of its task. Attributes: description, estimated_duration, estimated_duration_unit, assigned_person_uuid, counts_weekends, track_progress, translations.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, WOULD_CREATE_CYCLE.';
grant execute on function public.create_assignment to authenticated;

create or replace function public.create_assignment_from_task(
  p_project_uuid uuid, p_task_uuid uuid, p_attrs jsonb default '{}'
)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.create_row(p_project_uuid, p_task_uuid, p_attrs, true);
$$;
comment on function public.create_assignment_from_task is
'Creates a row like create_assignment, and copies blank attributes from the task.

Description, estimate and person are copied. The title follows the task.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, WOULD_CREATE_CYCLE.';
grant execute on function public.create_assignment_from_task to authenticated;

create or replace function public.create_assignment_with_closure(
  p_project_uuid uuid, p_task_uuid uuid, p_excluded uuid[] default '{}', p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_excluded uuid[] := array(
    select excluded.uuid from unnest(p_excluded) as excluded (uuid)
    where excluded.uuid <> p_task_uuid
  );
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
  perform app.copy_task_dependencies(
    p_project_uuid,
    array(select made.uuid from unnest(v_extras) as made) || v_root.uuid, v_tree, v_excluded
  );
  return jsonb_build_object('root', to_jsonb(v_root), 'extras', to_jsonb(v_extras));
end;
$$;
comment on function public.create_assignment_with_closure is
'Creates a row for a task, and rows for the tasks that it waits for.

Includes indirect dependencies, and skips tasks that the project already has. Copies the dependencies of the library. Returns {root, extras}. p_excluded names tasks to leave out. A task that is reached only through an excluded task is left out too. The attributes apply to the row of the task itself, as in create_assignment_from_task.

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
    return app.fail_constraint(sqlstate, v_constraint, sqlerrm);
end;
$$;
comment on function public.update_assignment is
'Changes a row, except its progress.

Attributes: those of create_assignment. An attribute that is left out keeps its value. Null clears the value. Description and estimate then follow the task again.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, SUBPROJECT_ROW (the value comes from the sub-project).';
grant execute on function public.update_assignment to authenticated;

create or replace function public.delete_assignment(p_row_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.require('Supervisor');
  perform app.lock_project_structure(exists ( -- alone for a sub-project, as delete_project
    select from public.project_assignments as rows
    where rows.uuid = p_row_uuid and rows.child_project_uuid is not null
  ));
  v_row := app.lock_row(p_row_uuid);
  delete from public.project_assignments as rows where rows.uuid = p_row_uuid;
  perform app.record_activity(
    'assignment_removed', 'assignment', p_row_uuid, jsonb_strip_nulls(jsonb_build_object(
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
'Deletes a row and its dependencies, in both directions.

A sub-project is deleted with its row, and with every project inside it. Returns the deleted row. A project is completed if all its remaining rows are done. A project without rows stays unchanged.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.delete_assignment to authenticated;

create or replace function public.delete_task(p_task_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_task public.project_tasks;
begin
  perform app.require('Admin');
  v_task := app.lock_task(p_task_uuid);
  begin
    delete from public.project_tasks as tasks where tasks.uuid = p_task_uuid;
  exception
    when foreign_key_violation or restrict_violation then -- restrict_violation since Postgres 18
      perform app.fail(
        'CONFLICT', 'Rows of projects use this task. Archive it instead.', jsonb_build_object(
          'task_uuid', p_task_uuid, 'rows', (
            select count(*) from public.project_assignments as rows
            where rows.task_uuid = p_task_uuid
          )
        )
      );
  end;
  perform app.record_activity(
    'task_deleted', 'task', p_task_uuid, jsonb_build_object('title', v_task.title)
  );
  return to_jsonb(v_task);
end;
$$;
comment on function public.delete_task is
'Deletes a task that no row uses.

Returns the deleted task.

Role: Admin. Errors: NOT_FOUND, CONFLICT (the task is in use; DETAIL counts the rows).';
grant execute on function public.delete_task to authenticated;

select app.assert_grants();
commit;
