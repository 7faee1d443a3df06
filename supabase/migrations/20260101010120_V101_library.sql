-- V101 library: the tasks that rows refer to, and which of them waits for which.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.lock_task(p_task_uuid uuid)
returns public.project_tasks
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_task public.project_tasks;
begin
  select tasks.* into v_task
  from public.project_tasks as tasks where tasks.uuid = p_task_uuid
  for no key update;
  if not found then
    perform app.fail('NOT_FOUND', 'No such task.', jsonb_build_object('task_uuid', p_task_uuid));
  end if;
  return v_task;
end;
$$;
comment on function app.lock_task is
'Lock a task of the library for writing, and how it is now. Raises NOT_FOUND.';

create or replace function app.archive_task(p_task_uuid uuid, p_at timestamptz)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_task public.project_tasks := app.lock_task(p_task_uuid);
begin
  if (v_task.archived_at is null) <> (p_at is null) then
    update public.project_tasks as tasks set archived_at = p_at
    where tasks.uuid = p_task_uuid
    returning tasks.* into v_task;
    perform app.record_activity(
      case when p_at is null then 'task_unarchived' else 'task_archived' end,
      'task', p_task_uuid, jsonb_build_object('title', v_task.title)
    );
  end if;
  return to_jsonb(v_task);
end;
$$;
comment on function app.archive_task is
'Archive a task of the library, or with null bring it back. Raises NOT_FOUND.';

create or replace function app.place_tasks(p_uuids uuid[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_found uuid[];
  v_positions integer[];
begin
  select array_agg(locked.uuid), array_agg(locked.position) into v_found, v_positions
  from (
    select tasks.uuid, tasks.position from public.project_tasks as tasks
    where tasks.uuid = any(p_uuids)
    order by tasks.uuid
    for no key update
  ) as locked;
  update public.project_tasks as tasks set position = places.place
  from app.take_places(p_uuids, v_found, v_positions) as places
  where tasks.uuid = places.uuid and tasks.position <> places.place;
  if v_found is not null then
    perform app.record_activity(
      'tasks_reordered', 'task', null, jsonb_build_object('count', cardinality(v_found))
    );
  end if;
  return coalesce(cardinality(v_found), 0);
end;
$$;
comment on function app.place_tasks is
'Put these tasks in this order, in the places they hold together; how many there were.';

-- Functions, public
create or replace function public.list_tasks(
  p_search text default null, p_archived text default 'false', p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_search text := lower(btrim(coalesce(p_search, '')));
begin
  perform app.require('Staff');
  if p_archived is null or p_archived not in ('false', 'true', 'all') then
    perform app.fail('BAD_INPUT', 'Archived is false, true or all.');
  end if;
  return query
  select to_jsonb(tasks) || jsonb_build_object(
    'label', app.translate(tasks.title, tasks.translations, 'title', p_language),
    'about', app.translate(tasks.description, tasks.translations, 'description', p_language),
    'depends_on', coalesce((
      select jsonb_agg(edges.depends_on_task_uuid order by edges.depends_on_task_uuid)
      from public.project_task_dependencies as edges where edges.task_uuid = tasks.uuid
    ), '[]')
  )
  from public.project_tasks as tasks
  where (p_archived = 'all' or (tasks.archived_at is not null) = (p_archived = 'true'))
  and (
    v_search = '' or strpos(lower(tasks.title), v_search) > 0
    or strpos(lower(tasks.description), v_search) > 0
  )
  order by tasks.position;
end;
$$;
comment on function public.list_tasks is
'The tasks of the library in their order, each with its label in a language and the tasks it waits for.

p_archived: false, true or all. p_search: anywhere in title or description, taken literally.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.list_tasks to authenticated;

create or replace function public.create_task(p_title text, p_attrs jsonb default '{}')
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_task public.project_tasks;
  v_constraint text;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(
    p_attrs, 'description', 'estimated_duration', 'estimated_duration_unit',
    'default_assigned_person_uuid', 'translations'
  );
  v_task := jsonb_populate_record(
    null::public.project_tasks,
    '{"estimated_duration_unit": "hours", "translations": {}}' || p_attrs
  );
  insert into public.project_tasks (
    title, description, estimated_duration, estimated_duration_unit,
    default_assigned_person_uuid, translations
  )
  values (
    p_title, v_task.description, v_task.estimated_duration, v_task.estimated_duration_unit,
    v_task.default_assigned_person_uuid, v_task.translations
  )
  returning project_tasks.* into v_task;
  perform app.record_activity(
    'task_created', 'task', v_task.uuid, jsonb_build_object('title', v_task.title)
  );
  return to_jsonb(v_task);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.create_task is
'Add a task to the library, at the end. Two may have one title.

Attributes: description, estimated_duration (above 0), estimated_duration_unit (minutes, hours, days, weeks, fortnights, months, years), default_assigned_person_uuid, translations.

Role: Supervisor. Errors: BAD_INPUT.';
grant execute on function public.create_task to authenticated;

create or replace function public.update_task(p_task_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.project_tasks;
  v_new public.project_tasks;
  v_constraint text;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(
    p_attrs, 'title', 'description', 'estimated_duration', 'estimated_duration_unit',
    'default_assigned_person_uuid', 'translations'
  );
  v_old := app.lock_task(p_task_uuid);
  v_new := jsonb_populate_record(v_old, p_attrs);
  if v_new is distinct from v_old then
    update public.project_tasks as tasks
    set
      title = v_new.title, description = v_new.description,
      estimated_duration = v_new.estimated_duration,
      estimated_duration_unit = v_new.estimated_duration_unit,
      default_assigned_person_uuid = v_new.default_assigned_person_uuid,
      translations = v_new.translations
    where tasks.uuid = p_task_uuid
    returning tasks.* into v_new;
    perform app.record_activity(
      'task_updated', 'task', p_task_uuid, jsonb_build_object('title', v_new.title)
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
comment on function public.update_task is
'Change a task, and with it every row that has no text or estimate of its own. Attributes: title, and as create_task; those left out stay, null clears.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.update_task to authenticated;

create or replace function public.archive_task(p_task_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return app.archive_task(p_task_uuid, app.now());
end;
$$;
comment on function public.archive_task is
'Stop offering a task; rows that use it keep it.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.archive_task to authenticated;

create or replace function public.unarchive_task(p_task_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return app.archive_task(p_task_uuid, null);
end;
$$;
comment on function public.unarchive_task is
'Offer an archived task again.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.unarchive_task to authenticated;

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
    when foreign_key_violation or restrict_violation then -- the latter since Postgres 18
      perform app.fail(
        'CONFLICT', 'Rows of projects use this task: archive it instead.', jsonb_build_object(
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
'Delete a task that no row uses. Returns what it was.

Role: Admin. Errors: NOT_FOUND, CONFLICT (it is in use; DETAIL counts the rows).';
grant execute on function public.delete_task to authenticated;

create or replace function public.reorder_tasks(p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_order(p_uuids);
  return app.place_tasks(p_uuids);
end;
$$;
comment on function public.reorder_tasks is
'Put these tasks in this order, in the places they hold together; the others keep theirs. Unknown ids count for nothing, of a double the last counts.

Role: Supervisor. Errors: BAD_INPUT (more than 1000 ids).';
grant execute on function public.reorder_tasks to authenticated;

create or replace function public.reorder_tasks_by(p_strategy text, p_uuids uuid[] default null)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_uuids uuid[];
begin
  perform app.require('Supervisor');
  perform app.check_strategy(p_strategy);
  perform app.check_order(coalesce(p_uuids, '{}'));
  select array_agg(
    tasks.uuid order by
      case p_strategy when 'name_asc' then lower(tasks.title) end,
      case p_strategy when 'name_desc' then lower(tasks.title) end desc,
      case p_strategy when 'created_asc' then tasks.inserted_at end,
      case p_strategy when 'created_desc' then tasks.inserted_at end desc,
      case p_strategy when 'reverse' then tasks.position end desc,
      tasks.uuid
  ) into v_uuids
  from public.project_tasks as tasks
  where p_uuids is null or tasks.uuid = any(p_uuids);
  return app.place_tasks(v_uuids);
end;
$$;
comment on function public.reorder_tasks_by is
'Sort the library: all of it, or the tasks given in the places they hold together.

p_strategy: name_asc, name_desc, created_asc, created_desc or reverse.

Role: Supervisor. Errors: BAD_INPUT.';
grant execute on function public.reorder_tasks_by to authenticated;

create or replace function public.add_task_dependency(
  p_task_uuid uuid, p_depends_on_task_uuid uuid
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  insert into public.project_task_dependencies (task_uuid, depends_on_task_uuid)
  values (p_task_uuid, p_depends_on_task_uuid);
  perform app.record_activity(
    'task_dependency_added', 'task', p_task_uuid,
    jsonb_build_object('depends_on_task_uuid', p_depends_on_task_uuid)
  );
  return true;
exception
  when unique_violation then
    perform app.fail('CONFLICT', 'It waits for that already.');
    return null;
  when foreign_key_violation then
    perform app.fail('NOT_FOUND', 'No such task.', jsonb_build_object(
      'task_uuid', p_task_uuid, 'depends_on_task_uuid', p_depends_on_task_uuid
    ));
    return null;
  when not_null_violation or check_violation then
    perform app.fail('BAD_INPUT', 'That takes two tasks.');
    return null;
end;
$$;
comment on function public.add_task_dependency is
'Let a task of the library wait for another, in every project that gets rows of both from now on.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (a task and itself), CONFLICT (it does already), WOULD_CREATE_CYCLE.';
grant execute on function public.add_task_dependency to authenticated;

create or replace function public.remove_task_dependency(
  p_task_uuid uuid, p_depends_on_task_uuid uuid
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  delete from public.project_task_dependencies as edges
  where edges.task_uuid = p_task_uuid and edges.depends_on_task_uuid = p_depends_on_task_uuid;
  if not found then
    perform app.fail('NOT_FOUND', 'It does not wait for that.');
  end if;
  perform app.record_activity(
    'task_dependency_removed', 'task', p_task_uuid,
    jsonb_build_object('depends_on_task_uuid', p_depends_on_task_uuid)
  );
  return true;
end;
$$;
comment on function public.remove_task_dependency is
'Let a task of the library no longer wait for another. Projects keep what they have.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.remove_task_dependency to authenticated;

select app.assert_grants();

commit;
