-- V101 projects: their life from setup to archive, their lists, and their order.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.describe_project(
  p_project public.projects, p_language text default null
)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_sums record;
begin
  select sums.total, sums.done, sums.in_progress, sums.empty, sums.progress_pct, sums.hours
  into v_sums
  from app.project_summaries as sums where sums.project_uuid = p_project.uuid;
  return to_jsonb(p_project) || jsonb_build_object(
    'state', app.project_state(p_project),
    'label', app.translate(p_project.name, p_project.translations, 'name', p_language),
    'about', app.translate(p_project.description, p_project.translations, 'description', p_language),
    'total', coalesce(v_sums.total, 0), 'done', coalesce(v_sums.done, 0),
    'in_progress', coalesce(v_sums.in_progress, 0), 'empty', coalesce(v_sums.empty, 0),
    'progress_pct', coalesce(v_sums.progress_pct, 0), 'hours', coalesce(v_sums.hours, 0)
  );
end;
$$;
comment on function app.describe_project is
'A project as reads return it: every column, its state, its label in a language, and what its rows come to.';

create or replace function app.write_attrs(p_project_uuid uuid, p_attrs jsonb)
returns jsonb
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select p_attrs;
$$;
comment on function app.write_attrs is
'What later layers let a caller set on a project: write it, and return the attributes that are left. Here: all of them.';

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
  if p_template.uuid is not null then -- what it has stays where the caller leaves a blank
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
    p_name, v_project.is_template, v_project.description, v_project.counts_weekends,
    v_project.start_mode, v_project.scheduled_start_date, v_project.translations,
    v_project.assigned_person_uuid, p_template.uuid
  )
  returning projects.* into v_project;
  perform app.check_attrs(
    app.write_attrs(v_project.uuid, v_attrs),
    'is_template', 'description', 'counts_weekends', 'start_mode', 'scheduled_start_date',
    'translations', 'assigned_person_uuid'
  );
  return app.lock_project(v_project.uuid);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function app.insert_project is
'A project as a caller describes it, with what it has from its template. Raises BAD_INPUT.';

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
  v_left := app.write_attrs(p_project_uuid, p_attrs);
  perform app.check_attrs(
    v_left, 'name', 'description', 'counts_weekends', 'start_mode', 'scheduled_start_date',
    'translations', 'assigned_person_uuid'
  );
  v_new := jsonb_populate_record(v_old, v_left);
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
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
end;
$$;
comment on function app.update_project is
'Change what people may change of a project; one activity, or none where nothing changes. Raises NOT_FOUND and BAD_INPUT.';

create or replace function app.delete_project_tree(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects := app.lock_project(p_project_uuid);
begin
  delete from public.projects as projects where projects.uuid = p_project_uuid;
  perform app.record_activity(
    case when v_project.is_template then 'template_deleted' else 'project_deleted' end,
    'project', p_project_uuid, jsonb_build_object('name', v_project.name)
  );
  return 1;
end;
$$;
comment on function app.delete_project_tree is
'Delete a project and all it owns, one activity for each project removed; how many those were. Raises NOT_FOUND.';

create or replace function app.find_projects(
  p_templates boolean, p_archived text, p_status text, p_search text
)
returns setof public.projects
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_search text := lower(btrim(coalesce(p_search, '')));
begin
  if p_archived is null or p_archived not in ('false', 'true', 'all') then
    perform app.fail('BAD_INPUT', 'Archived is false, true or all.');
  end if;
  return query
  select projects.*
  from public.projects as projects
  inner join app.root_projects as roots on roots.uuid = projects.uuid
  where projects.is_template = coalesce(p_templates, false)
  and (p_archived = 'all' or (projects.archived_at is not null) = (p_archived = 'true'))
  and (coalesce(p_status = 'all', false) or app.has_status(projects, p_status))
  and (
    v_search = '' or strpos(lower(projects.name), v_search) > 0
    or strpos(lower(projects.description), v_search) > 0
    or projects.translations <> '{}' and exists (
      select from jsonb_each(projects.translations) as texts
      where strpos(lower(texts.value ->> 'name'), v_search) > 0
      or strpos(lower(texts.value ->> 'description'), v_search) > 0
    )
  );
end;
$$;
comment on function app.find_projects is
'The projects that stand in lists and fit the filters; lists and counts ask this alone. Raises BAD_INPUT.';

create or replace function app.place_projects(p_uuids uuid[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_found uuid[];
  v_positions integer[];
begin
  perform app.lock_project_trees(p_uuids);
  select array_agg(projects.uuid), array_agg(projects.position) into v_found, v_positions
  from public.projects as projects
  where projects.uuid = any(p_uuids);
  update public.projects as projects set position = places.place
  from app.take_places(p_uuids, v_found, v_positions) as places
  where projects.uuid = places.uuid and projects.position <> places.place;
  if v_found is not null then
    perform app.record_activity(
      'projects_reordered', 'project', null, jsonb_build_object('count', cardinality(v_found))
    );
  end if;
  return coalesce(cardinality(v_found), 0);
end;
$$;
comment on function app.place_projects is
'Put these projects in this order, in the places they hold together; how many there were.';

-- Functions, public
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
'Make a project, or with is_template a template, at the end of the list. Two may have one name.

Attributes: is_template, description, counts_weekends, start_mode (immediate, scheduled), scheduled_start_date (a must when scheduled), translations ({"es": {"name": "...", "description": "..."}}), assigned_person_uuid; with V125 also status_entity_uuid, external_id and settings. Any other is refused.

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
'Change a project. Attributes: name, and as create_project but is_template; those left out stay, null clears.

What its life writes (started, completed, archived) has functions of its own.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT.';
grant execute on function public.update_project to authenticated;

create or replace function public.start_project(
  p_project_uuid uuid, p_at timestamptz default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
  v_starts boolean;
begin
  perform app.require('Supervisor');
  v_project := app.lock_project(p_project_uuid);
  v_starts := v_project.started_at is null;
  if v_starts and app.project_state(v_project) in ('template', 'archived') then
    perform app.fail(
      'INVALID_STATE', 'A template or an archived project is not started.',
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
  select projects.* into v_project -- with what triggers have added
  from public.projects as projects where projects.uuid = p_project_uuid;
  return app.describe_project(v_project) || jsonb_build_object('already_done', not v_starts);
end;
$$;
comment on function public.start_project is
'Start a project, now or at the time given. A started one stays as it is and answers already_done.

Role: Supervisor. Errors: NOT_FOUND, INVALID_STATE (a template, or archived).';
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
'Take a project out of the lists; nothing else changes. Again renews the date.

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
'Bring an archived project back into the lists.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.unarchive_project to authenticated;

create or replace function public.delete_project(p_project_uuid uuid)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  return app.delete_project_tree(p_project_uuid);
end;
$$;
comment on function public.delete_project is
'Delete a project with its rows and, with V127, all that lies inside it; tasks of the library stay. Returns how many projects that removed.

Role: Admin. Errors: NOT_FOUND, STILL_A_SUBPROJECT (with V127).';
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
'A project: its columns, its state, its label in a language, and what its rows come to; a template also how often it was used.

State is the first that fits: archived, template, completed, running, overdue (scheduled, and the time has passed), scheduled, setup. Languages fall back: exact, base, sibling, primary.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_project to authenticated;

create or replace function public.list_projects(
  p_templates boolean default false, p_archived text default 'false', p_status text default 'all',
  p_search text default null, p_sort text default 'position', p_dir text default 'asc',
  p_limit integer default null, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_desc boolean := lower(p_dir) is not distinct from 'desc';
begin
  perform app.require('Staff');
  return query
  select app.describe_project(projects, p_language)
  from app.find_projects(p_templates, p_archived, p_status, p_search) as projects
  order by
    case when p_sort = 'name' and not v_desc then lower(projects.name) end,
    case when p_sort = 'name' and v_desc then lower(projects.name) end desc,
    extract(epoch from case p_sort
      when 'inserted_at' then projects.inserted_at when 'updated_at' then projects.updated_at
    end) * case when v_desc then -1 else 1 end,
    projects.position
  limit case when p_limit > 0 then p_limit end;
end;
$$;
comment on function public.list_projects is
'The projects, or with p_templates the templates, each as get_project returns it; none that is part of another.

p_archived: false, true or all. p_status: all, a slug, or null for none selected. p_search: anywhere in name or description, in any language, taken literally. p_sort: position (p_dir does not matter), name, inserted_at or updated_at.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.list_projects to authenticated;

create or replace function public.count_projects(
  p_templates boolean default false, p_archived text default 'false', p_status text default 'all',
  p_search text default null
)
returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return (
    select count(*) from app.find_projects(p_templates, p_archived, p_status, p_search)
  );
end;
$$;
comment on function public.count_projects is
'How many projects list_projects would list.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.count_projects to authenticated;

create or replace function public.project_buckets(p_language text default null)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return (
    with sorted as (
      select
        projects as project,
        buckets.bucket,
        row_number() over (
          partition by buckets.bucket
          order by
            case when buckets.bucket = 'upcoming' then projects.scheduled_start_date end,
            case buckets.bucket
              when 'running' then projects.started_at
              when 'completed' then projects.completed_at
              when 'setup' then projects.inserted_at
            end desc,
            projects.position
        ) as place
      from app.find_projects(false, 'false', 'all', null) as projects
      cross join lateral (
        select case app.project_state(projects)
          when 'running' then 'running' when 'completed' then 'completed'
          when 'setup' then 'setup' else 'upcoming'
        end as bucket
      ) as buckets
    )
    select '{"running": [], "completed": [], "upcoming": [], "setup": []}'::jsonb || coalesce(
      jsonb_object_agg(filled.bucket, filled.projects), '{}'
    )
    from (
      select
        sorted.bucket,
        jsonb_agg(app.describe_project(sorted.project, p_language) order by sorted.place) as projects
      from sorted
      where sorted.place <= case sorted.bucket when 'completed' then 5 else 100 end
      group by sorted.bucket
    ) as filled
  );
end;
$$;
comment on function public.project_buckets is
'What a dashboard shows: running (latest start first), completed (the last 5), upcoming (scheduled, earliest first), setup (newest first). At most 100 each; projects in lists only, neither templates nor archived ones.

Role: Staff.';
grant execute on function public.project_buckets to authenticated;

create or replace function public.reorder_projects(
  p_uuids uuid[], p_templates boolean default false
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_order(p_uuids);
  if exists (
    select from public.projects as projects
    where projects.uuid = any(p_uuids) and projects.is_template <> coalesce(p_templates, false)
  ) then
    perform app.fail('BAD_INPUT', 'Projects and templates are not ordered together.');
  end if;
  return app.place_projects(p_uuids);
end;
$$;
comment on function public.reorder_projects is
'Put these projects, or templates, in this order, in the places they hold together; the others keep theirs. Unknown ids count for nothing, of a double the last counts.

Role: Supervisor. Errors: BAD_INPUT (more than 1000 ids, or both kinds at once).';
grant execute on function public.reorder_projects to authenticated;

create or replace function public.reorder_projects_by(
  p_strategy text, p_uuids uuid[] default null, p_templates boolean default false
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
  select array_agg(
    projects.uuid order by
      case p_strategy when 'name_asc' then lower(projects.name) end,
      case p_strategy when 'name_desc' then lower(projects.name) end desc,
      case p_strategy when 'created_asc' then projects.inserted_at end,
      case p_strategy when 'created_desc' then projects.inserted_at end desc,
      case p_strategy when 'reverse' then projects.position end desc,
      projects.uuid
  ) into v_uuids
  from public.projects as projects
  inner join app.root_projects as roots on roots.uuid = projects.uuid
  where projects.is_template = coalesce(p_templates, false)
  and (p_uuids is null or projects.uuid = any(p_uuids));
  return app.place_projects(v_uuids);
end;
$$;
comment on function public.reorder_projects_by is
'Sort projects, or templates: all of them, or those given in the places they hold together.

p_strategy: name_asc, name_desc, created_asc, created_desc or reverse.

Role: Supervisor. Errors: BAD_INPUT.';
grant execute on function public.reorder_projects_by to authenticated;

select app.assert_grants();

commit;
