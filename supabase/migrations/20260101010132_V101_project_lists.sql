-- V101 project lists: find, count, bucket and sort projects.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.find_projects(
  p_templates boolean, p_archived text, p_status text, p_search text
)
returns setof public.projects
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_search text := lower(btrim(coalesce(p_search, '')));
begin
  perform app.check_length('p_search', p_search, 200);
  if p_archived is null or p_archived not in ('false', 'true', 'all') then
    perform app.fail('BAD_INPUT', 'p_archived must be false, true or all.');
  end if;
  return query
  select projects.*
  from public.projects as projects
  inner join app.root_projects as roots on roots.uuid = projects.uuid
  where projects.is_template = coalesce(p_templates, false)
  and (p_archived = 'all' or (projects.archived_at is not null) = (p_archived = 'true'))
  and (p_status = 'all' or projects.current_status_slug is not distinct from p_status)
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
'Returns the root projects that match the filters. Raises BAD_INPUT.';

create or replace function app.reorder_projects(p_uuids uuid[])
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects app.placed[];
begin
  perform app.lock_project_trees(p_uuids);
  v_projects := array(
    select row(projects.uuid, projects.position)::app.placed
    from public.projects as projects
    where projects.uuid = any(p_uuids)
  );
  update public.projects as projects set position = assigned.position
  from app.assign_positions(p_uuids, v_projects) as assigned
  where projects.uuid = assigned.uuid and projects.position <> assigned.position;
  return app.record_reordering('projects_reordered', 'project', null, v_projects);
end;
$$;
comment on function app.reorder_projects is
'Sorts these projects into the given sequence. They share the positions that they hold now. Returns the number of projects found.';

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
'Lists projects, or templates with p_templates, as get_project returns them.

Sub-projects are omitted. p_archived must be false, true or all. p_status must be all, a slug, or null for projects without a status. p_search matches any part of name or description in any language, without wildcards. p_sort must be position, name, inserted_at or updated_at. p_dir has no effect on position.

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
  return (select count(*) from app.find_projects(p_templates, p_archived, p_status, p_search));
end;
$$;
comment on function public.count_projects is
'Returns the number of projects that list_projects returns without a limit.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.count_projects to authenticated;

create or replace function public.project_buckets(p_language text default null)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return '{"running": [], "completed": [], "upcoming": [], "setup": []}'::jsonb || (
    with sorted as (
      select projects as project, buckets.bucket, row_number() over (
        partition by buckets.bucket
        order by extract(epoch from case buckets.bucket
          when 'running' then projects.started_at when 'completed' then projects.completed_at
          when 'setup' then projects.inserted_at else projects.scheduled_start_date
        end) * case buckets.bucket when 'upcoming' then 1 else -1 end, projects.position
      ) as place
      from app.find_projects(false, 'false', 'all', null) as projects
      cross join lateral (
        select case app.project_state(projects)
          when 'running' then 'running' when 'completed' then 'completed'
          when 'setup' then 'setup' else 'upcoming'
        end as bucket
      ) as buckets
    )
    select coalesce(jsonb_object_agg(filled.bucket, filled.projects), '{}')
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
'Returns the projects of a dashboard in four buckets.

The buckets are running (latest start first), completed (the last 5), upcoming (scheduled, earliest first) and setup (newest first). The other buckets hold at most 100 projects. Sub-projects, templates and archived projects are omitted.

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
  perform app.check_id_list(p_uuids);
  if exists (
    select from public.projects as projects
    where projects.uuid = any(p_uuids) and projects.is_template <> coalesce(p_templates, false)
  ) then
    perform app.fail('BAD_INPUT', 'Pass only projects, or only templates.');
  end if;
  return app.reorder_projects(p_uuids);
end;
$$;
comment on function public.reorder_projects is
'Sorts the given projects, or templates, into the given sequence.

The projects share the positions that they hold now. Every other project keeps its position. Unknown ids are ignored. If an id is given twice, the last one counts. Returns the number of projects found.

Role: Supervisor. Errors: BAD_INPUT (more than 1,000 ids, or projects mixed with templates).';
grant execute on function public.reorder_projects to authenticated;

create or replace function public.reorder_projects_by(
  p_strategy text, p_uuids uuid[] default null, p_templates boolean default false
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  perform app.check_sort(p_strategy, p_uuids);
  return app.reorder_projects(app.sorted_ids(p_strategy, array(
    select row(projects.uuid, projects.name, projects.inserted_at, projects.position)::app.sortable
    from public.projects as projects
    inner join app.root_projects as roots on roots.uuid = projects.uuid
    where projects.is_template = coalesce(p_templates, false)
    and (p_uuids is null or projects.uuid = any(p_uuids))
  )));
end;
$$;
comment on function public.reorder_projects_by is
'Sorts all projects or templates, or the given ones within the positions that they hold.

p_strategy must be name_asc, name_desc, created_asc, created_desc or reverse. Returns the number of projects sorted.

Role: Supervisor. Errors: BAD_INPUT.';
grant execute on function public.reorder_projects_by to authenticated;

select app.assert_grants();
commit;
