-- V101 projects: create, change, start, archive, delete and read a project.
-- Needs: M0 M1
--
-- delete_entity is in this file because it locks projects before the list.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('INVALID_STATE', 'PT409', 'The project is in the wrong state for this call.'),
('STILL_A_SUBPROJECT', 'PT409', 'The project lies inside another, so it cannot be deleted alone.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

create or replace function app.project_state(p_project public.projects)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when app.is_archived(p_project) then 'archived'
    when p_project.is_template then 'template'
    when p_project.completed_at is not null then 'completed'
    when p_project.started_at is not null then 'running'
    when p_project.start_mode <> 'scheduled' then 'setup'
    when p_project.scheduled_start_date < app.now() then 'overdue'
    else 'scheduled'
  end;
end;
$$;
comment on function app.project_state is
'Returns the first state that fits: archived, template, completed, running, setup, overdue or scheduled.';

create or replace function app.describe_project(
  p_project public.projects, p_language text default null
)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return to_jsonb(p_project) || jsonb_build_object(
    'state', app.project_state(p_project),
    'label', app.translate(p_project.name, p_project.translations, 'name', p_language),
    'about', app.translate(p_project.description, p_project.translations, 'description', p_language)
  ) || coalesce((
    select to_jsonb(sums) - 'project_uuid'
    from app.project_summaries as sums where sums.project_uuid = p_project.uuid
  ), '{"total": 0, "done": 0, "in_progress": 0, "empty": 0, "progress_pct": 0, "hours": 0}');
end;
$$;
comment on function app.describe_project is
'Returns a project as reads show it: every column, its state, its texts in the given language, and its progress.';

create or replace function app.write_status_attrs(p_project_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update public.projects as projects
  set
    status_entity_uuid = wanted.source, external_id = wanted.external_id,
    settings = wanted.settings
  from (
    select
      case
        when p_attrs ? 'status_entity_uuid' then nullif(p_attrs ->> 'status_entity_uuid', '')::uuid
        else own.status_entity_uuid
      end as source,
      case
        when p_attrs ? 'external_id' then p_attrs ->> 'external_id' else own.external_id
      end as external_id,
      case
        when p_attrs ? 'settings' then jsonb_strip_nulls(own.settings || (p_attrs -> 'settings'))
        else own.settings
      end as settings
    from public.projects as own where own.uuid = p_project_uuid
  ) as wanted
  where projects.uuid = p_project_uuid
  and (projects.status_entity_uuid, projects.external_id, projects.settings)
  is distinct from (wanted.source, wanted.external_id, wanted.settings);
  return p_attrs - array['status_entity_uuid', 'external_id', 'settings'];
end;
$$;
comment on function app.write_status_attrs is
'Writes status_entity_uuid, external_id and settings of a locked project. An empty status_entity_uuid becomes null. Settings are merged, and a null removes a key. Returns the other attributes.';

create or replace function app.insert_project(
  p_name text, p_attrs jsonb, p_template public.projects
)
returns public.projects
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_attrs jsonb := p_attrs;
  v_project public.projects;
  v_constraint text;
begin
  perform app.check_length('description', p_attrs ->> 'description', 5000);
  perform app.lock_project_structure(false); -- before the list, which the new project refers to
  if p_template.uuid is not null then -- a blank value keeps the value of the template
    v_attrs := p_attrs - array(
      select given.key from jsonb_each(p_attrs) as given where given.value in ('null', '""')
    );
  end if;
  v_project := jsonb_populate_record(
    null::public.projects,
    jsonb_build_object(
      'is_template', false, 'counts_weekends', coalesce(p_template.counts_weekends, false),
      'start_mode', 'immediate', 'translations', '{}'::jsonb
    ) || v_attrs
  );
  insert into public.projects (
    name, is_template, description, counts_weekends, start_mode, scheduled_start_date,
    translations, assigned_person_uuid, created_from_template_uuid
  )
  values (
    app.clean_name(p_name), v_project.is_template, v_project.description, v_project.counts_weekends,
    v_project.start_mode, v_project.scheduled_start_date, v_project.translations,
    v_project.assigned_person_uuid, p_template.uuid
  )
  returning projects.* into v_project;
  perform app.check_attrs(
    app.write_status_attrs(v_project.uuid, v_attrs),
    'is_template', 'description', 'counts_weekends', 'start_mode', 'scheduled_start_date',
    'translations', 'assigned_person_uuid'
  );
  return app.lock_project(v_project.uuid);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.fail_constraint(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function app.insert_project is
'Creates a project from the attributes of a caller and the settings of a template. Raises BAD_INPUT.';

create or replace function app.update_project(p_project_uuid uuid, p_attrs jsonb)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.projects := app.lock_project(p_project_uuid);
  v_new public.projects;
  v_left jsonb;
  v_constraint text;
begin
  v_left := app.write_status_attrs(p_project_uuid, p_attrs);
  perform app.check_attrs(
    v_left, 'name', 'description', 'counts_weekends', 'start_mode', 'scheduled_start_date',
    'translations', 'assigned_person_uuid'
  );
  v_new := jsonb_populate_record(v_old, v_left);
  v_new.name := app.clean_name(v_new.name);
  if v_new is distinct from v_old then
    update public.projects as projects
    set
      name = v_new.name, description = v_new.description,
      counts_weekends = v_new.counts_weekends, start_mode = v_new.start_mode,
      scheduled_start_date = v_new.scheduled_start_date, translations = v_new.translations,
      assigned_person_uuid = v_new.assigned_person_uuid
    where projects.uuid = p_project_uuid;
  end if;
  v_new := app.lock_project(p_project_uuid);
  if v_new is distinct from v_old then
    perform app.record_activity(
      case when v_new.is_template then 'template_updated' else 'project_updated' end,
      'project', p_project_uuid, jsonb_build_object('name', v_new.name)
    );
  end if;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.fail_constraint(sqlstate, v_constraint, sqlerrm);
end;
$$;
comment on function app.update_project is
'Changes a project. Records one activity if anything changed. Raises NOT_FOUND and BAD_INPUT.';

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
      'STILL_A_SUBPROJECT', 'The project lies inside another. Detach it, or delete its row there.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  v_tree := array(
    select tree.project_uuid from app.project_tree(p_project_uuid) as tree
    order by cardinality(tree.path)
  );
  perform app.record_activity(
    case when v_project.is_template then 'template_deleted' else 'project_deleted' end,
    'project', doomed.uuid, jsonb_build_object('name', doomed.name)
  )
  from unnest(v_tree) with ordinality as tree (project_uuid, place)
  inner join public.projects as doomed on doomed.uuid = tree.project_uuid
  order by tree.place;
  -- Delete all rows first, in one statement. Otherwise a foreign key could reject the delete, or a
  -- project could be completed in between.
  delete from public.project_assignments as rows where rows.project_uuid = any(v_tree);
  delete from public.projects as projects where projects.uuid = any(v_tree);
  return cardinality(v_tree);
end;
$$;
comment on function app.delete_project_tree is
'Deletes a project, its rows and every project inside it. Records one activity for each project, from the top down. Returns the number of projects deleted. Raises NOT_FOUND and STILL_A_SUBPROJECT.';

create or replace function public.create_project(p_name text, p_attrs jsonb default '{}')
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Supervisor');
  v_project := app.insert_project(p_name, p_attrs, null);
  perform app.record_activity(
    case when v_project.is_template then 'template_created' else 'project_created' end,
    'project', v_project.uuid, jsonb_build_object('name', v_project.name)
  );
  return app.describe_project(v_project);
end;
$$;
comment on function public.create_project is
'Creates a project, or a template, at the end of the list.

Attributes: is_template, description, counts_weekends, start_mode (immediate, scheduled), scheduled_start_date (required when scheduled), translations ({"es": {"name": "...", "description": "..."}}), assigned_person_uuid, status_entity_uuid, external_id, settings. Any other attribute is rejected. Two projects may have the same name.

Role: Supervisor. Errors: BAD_INPUT.';
grant execute on function public.create_project to authenticated;

create or replace function public.update_project(p_project_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.update_project(p_project_uuid, p_attrs);
  return app.describe_project(app.lock_project(p_project_uuid));
end;
$$;
comment on function public.update_project is
'Changes a project.

Attributes: name, and those of create_project except is_template. An attribute that is left out keeps its value. Null clears the value. Starting and archiving a project have their own functions.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.update_project to authenticated;

create or replace function public.start_project(p_project_uuid uuid, p_at timestamptz default null)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
  v_starts boolean;
begin
  perform app.require('Supervisor');
  perform app.check_range('p_at', p_at, '2000-01-01', '2099-12-31');
  v_project := app.lock_project(p_project_uuid);
  v_starts := v_project.started_at is null;
  if v_starts and app.project_state(v_project) in ('template', 'archived') then
    perform app.fail(
      'INVALID_STATE', 'A template or an archived project cannot be started. Unarchive the project first.',
      jsonb_build_object('project_uuid', p_project_uuid, 'state', app.project_state(v_project))
    );
  end if;
  if v_starts then
    update public.projects as projects set started_at = coalesce(p_at, app.now())
    where projects.uuid = p_project_uuid
    returning projects.* into v_project;
    perform app.record_activity(
      'project_started', 'project', p_project_uuid,
      jsonb_build_object('name', v_project.name, 'started_at', v_project.started_at)
    );
  end if;
  return app.describe_project(app.find_project(p_project_uuid)) -- triggers may have changed it
    || jsonb_build_object('already_done', not v_starts);
end;
$$;
comment on function public.start_project is
'Starts a project now, or at the given time from 2000 to 2099.

A started project keeps its start, and a repeat answers already_done.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, INVALID_STATE (a template, or an archived project).';
grant execute on function public.start_project to authenticated;

create or replace function public.archive_project(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Supervisor');
  perform app.lock_project(p_project_uuid);
  update public.projects as projects set archived_at = app.now()
  where projects.uuid = p_project_uuid
  returning projects.* into v_project;
  perform app.record_activity(
    'project_archived', 'project', p_project_uuid, jsonb_build_object('name', v_project.name)
  );
  return app.describe_project(v_project);
end;
$$;
comment on function public.archive_project is
'Archives a project, so that lists omit it.

Archiving an archived project updates archived_at.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.archive_project to authenticated;

create or replace function public.unarchive_project(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Supervisor');
  v_project := app.lock_project(p_project_uuid);
  if v_project.archived_at is not null then
    update public.projects as projects set archived_at = null
    where projects.uuid = p_project_uuid
    returning projects.* into v_project;
    perform app.record_activity(
      'project_unarchived', 'project', p_project_uuid, jsonb_build_object('name', v_project.name)
    );
  end if;
  return app.describe_project(v_project);
end;
$$;
comment on function public.unarchive_project is
'Returns an archived project to the lists.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.unarchive_project to authenticated;

create or replace function public.delete_project(p_project_uuid uuid)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  perform app.lock_project_structure(true); -- the delete of a template changes its copies
  return app.delete_project_tree(p_project_uuid);
end;
$$;
comment on function public.delete_project is
'Deletes a project, its rows and every project inside it.

Tasks of the library stay. Returns the number of projects deleted.

Role: Admin. Errors: NOT_FOUND, STILL_A_SUBPROJECT.';
grant execute on function public.delete_project to authenticated;

create or replace function public.get_project(p_project_uuid uuid, p_language text default null)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Staff');
  v_project := app.find_project(p_project_uuid);
  return app.describe_project(v_project, p_language) || case
    when v_project.is_template then (
      select jsonb_build_object('uses', count(*), 'last_used_at', max(copies.inserted_at))
      from public.projects as copies
      where copies.created_from_template_uuid = p_project_uuid and not copies.is_template
    )
    else '{}'
  end;
end;
$$;
comment on function public.get_project is
'Returns a project with its columns, state, label in the given language, and progress.

A template also has uses and last_used_at. The state is the first that fits: archived, template, completed, running, setup, overdue, scheduled. An overdue project is scheduled for a time in the past. A language falls back to its base, then to a sibling, then to the primary language.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_project to authenticated;

create or replace function public.delete_entity(p_entity_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity public.entities;
begin
  perform app.require_catalog('Admin');
  -- Deleting the list updates its projects, and projects are locked before lists. Another call may
  -- give the list to one more project until this lock is granted.
  perform app.lock_project_structure(true);
  v_entity := app.lock_entity(p_entity_uuid);
  if v_entity.status <> 'trashed' then
    perform app.fail(
      'CONFLICT', 'The list is not in the trash. Trash it before deleting it.',
      jsonb_build_object('entity_uuid', p_entity_uuid, 'status', v_entity.status)
    );
  end if;
  delete from public.entities as entities where entities.uuid = p_entity_uuid;
  perform app.record_activity(
    'entity_deleted', 'entity', p_entity_uuid, jsonb_build_object('name', v_entity.name), 'entities'
  );
  return to_jsonb(v_entity);
end;
$$;
comment on function public.delete_entity is
'Deletes a trashed list and its records for good.

Returns the deleted list. Projects that name the list use the default list from then on. Started projects keep their statuses.

Role: Admin. Errors: NOT_FOUND, CONFLICT (the list is not in the trash), CATALOG_UNAVAILABLE.';
grant execute on function public.delete_entity to authenticated;

select app.assert_grants();
commit;
