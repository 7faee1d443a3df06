-- V125 statuses: read them, select one, and change those of a started project.
--
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.lock_status(p_status_uuid uuid)
returns public.project_statuses
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_status public.project_statuses;
begin
  perform app.lock_project_trees(array(
    select statuses.project_uuid from public.project_statuses as statuses
    where statuses.uuid = p_status_uuid
  ));
  select statuses.* into v_status
  from public.project_statuses as statuses where statuses.uuid = p_status_uuid;
  if not found then
    perform app.fail(
      'NOT_FOUND', 'No such status.', jsonb_build_object('status_uuid', p_status_uuid)
    );
  end if;
  return v_status;
end;
$$;
comment on function app.lock_status is
'Lock the project of a status for writing, and how the status is now. Raises NOT_FOUND.';

create or replace function app.status_value(p_status_uuid uuid)
returns public.status_value
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_status public.status_value;
begin
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  into v_status
  from app.statuses_of(array(
    select own.project_uuid from public.project_statuses as own where own.uuid = p_status_uuid
  )) as statuses
  where statuses.uuid = p_status_uuid;
  return v_status;
end;
$$;
comment on function app.status_value is
'A status of a started project, in the primary language.';

-- Functions, public: reads
create or replace function public.project_started(p_project_uuid uuid)
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return (app.find_project(p_project_uuid)).started_at is not null;
end;
$$;
comment on function public.project_started is
'Whether a project has been started, even if for a time to come. From then on its statuses are its own.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.project_started to authenticated;

create or replace function public.statuses_for(p_project_uuid uuid, p_language text default null)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  perform app.find_project(p_project_uuid);
  return query
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  from app.statuses_of(array[p_project_uuid], p_language) as statuses;
end;
$$;
comment on function public.statuses_for is
'The statuses a project can have, in order: its own once it has started, before that those of its list as they are now. None before the start while the catalog is off, or without a list.

Labels are in the language asked for (that exactly, else its base, else a sibling, else the primary one), unless use_status_translations says no.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.statuses_for to authenticated;

create or replace function public.current_status(p_project_uuid uuid, p_language text default null)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  perform app.find_project(p_project_uuid);
  return query
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  from app.statuses_of(array[p_project_uuid], p_language, true) as statuses;
end;
$$;
comment on function public.current_status is
'The status a project has; no row when none is selected, or the one selected is not there now: its record in the trash, the catalog off. As statuses_for.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.current_status to authenticated;

create or replace function public.list_project_statuses(
  p_project_uuid uuid, p_language text default null
)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  if (app.find_project(p_project_uuid)).started_at is null then
    return;
  end if;
  return query
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  from app.statuses_of(array[p_project_uuid], p_language) as statuses;
end;
$$;
comment on function public.list_project_statuses is
'The statuses that are a project''s own, by position: none before it starts. As statuses_for.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.list_project_statuses to authenticated;

create or replace function public.get_project_status(
  p_project_uuid uuid, p_status_uuid uuid, p_language text default null
)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  from public.list_project_statuses(p_project_uuid, p_language) as statuses
  where statuses.uuid = p_status_uuid;
end;
$$;
comment on function public.get_project_status is
'One of a project''s own statuses; no row when it is not one of them.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_project_status to authenticated;

create or replace function public.statuses_for_projects(
  p_project_uuids uuid[], p_language text default null
)
returns setof public.project_status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    asked.project_uuid, statuses.uuid, statuses.label, statuses.slug, statuses.color,
    statuses.position
  from (select distinct ids.id as project_uuid from unnest(p_project_uuids) as ids (id)) as asked
  left join app.statuses_of(p_project_uuids, p_language, true) as statuses
    on statuses.project_uuid = asked.project_uuid;
end;
$$;
comment on function public.statuses_for_projects is
'The status of each of these projects, as current_status: one row for each, its status null where it has none. However many, it is one read.

Role: Staff.';
grant execute on function public.statuses_for_projects to authenticated;

create or replace function public.selected_statuses(p_language text default null)
returns table (slug text, label text, projects bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  with listed as materialized (
    select found.uuid, found.current_status_slug::text as slug
    from app.find_projects(false, 'false', 'all', null) as found
    where found.current_status_slug is not null
  )
  select
    listed.slug, min(coalesce(statuses.label, listed.slug) collate pg_catalog.ucs_basic), count(*)
  from listed
  left join app.statuses_of(
    array(select every_one.uuid from listed as every_one), p_language, true
  ) as statuses on statuses.project_uuid = listed.uuid
  group by listed.slug
  order by listed.slug;
end;
$$;
comment on function public.selected_statuses is
'The statuses that projects have, whatever list they are from: what to offer where list_projects is filtered by status, and how many projects each one leaves.

Role: Staff.';
grant execute on function public.selected_statuses to authenticated;

-- Functions, public: the selection
create or replace function public.set_current_status(p_project_uuid uuid, p_slug text)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects;
  v_slugs text[];
begin
  perform app.require('Staff');
  v_before := app.lock_project(p_project_uuid);
  v_slugs := array(select statuses.slug from app.statuses_of(array[p_project_uuid]) as statuses);
  if not coalesce(p_slug = any(v_slugs), p_slug is null) then
    perform app.fail(
      'INVALID_STATUS', 'The project has no such status.',
      jsonb_build_object('project_uuid', p_project_uuid, 'slug', p_slug, 'slugs', v_slugs)
    );
  end if;
  update public.projects as projects set current_status_slug = p_slug
  where projects.uuid = p_project_uuid
  and projects.current_status_slug is distinct from p_slug;
  return app.describe_change(v_before) || jsonb_build_object('status', (
    select to_jsonb(statuses) - 'project_uuid'
    from app.statuses_of(array[p_project_uuid], null, true) as statuses
  ));
end;
$$;
comment on function public.set_current_status is
'Give a project one of its statuses, by slug; null for none. Its status comes along in status. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, INVALID_STATUS.';
grant execute on function public.set_current_status to authenticated;

-- Functions, public: a project's own statuses
create or replace function public.add_project_status(
  p_project_uuid uuid, p_label text, p_attrs jsonb default '{}'
)
returns public.status_value
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_status public.project_statuses;
  v_constraint text;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(p_attrs, 'slug', 'position', 'data', 'translations');
  perform app.lock_project(p_project_uuid);
  v_status := jsonb_populate_record(
    null::public.project_statuses,
    jsonb_build_object('data', '{}'::jsonb, 'translations', '{}'::jsonb, 'position', (
      select coalesce(max(statuses.position), 0) + 1 from public.project_statuses as statuses
      where statuses.project_uuid = p_project_uuid
    )) || (p_attrs - 'slug')
  );
  insert into public.project_statuses as statuses (
    project_uuid, label, slug, position, data, translations
  )
  values (
    p_project_uuid, btrim(p_label),
    app.slugify(coalesce(p_attrs ->> 'slug', p_label), 'status-' || v_status.position),
    v_status.position, v_status.data, v_status.translations
  )
  returning statuses.* into v_status;
  perform app.record_activity(
    'project_status_added', 'project_status', v_status.uuid,
    jsonb_build_object('project_uuid', p_project_uuid, 'slug', v_status.slug)
  );
  return app.status_value(v_status.uuid);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.add_project_status is
'Give a started project one more status of its own, at the end. Its list in the catalog stays as it is.

Attributes: slug (made a slug; else the label is), position, data ({"color": "#34d399"}), translations ({"es-ES": {"label": "..."}}).

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, INVALID_STATE (not started), CONFLICT (the slug is taken).';
grant execute on function public.add_project_status to authenticated;

create or replace function public.update_project_status_row(p_status_uuid uuid, p_attrs jsonb)
returns public.status_value
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.project_statuses;
  v_new public.project_statuses;
  v_constraint text;
begin
  perform app.require('Supervisor');
  perform app.check_attrs(p_attrs, 'label', 'slug', 'position', 'data', 'translations');
  v_old := app.lock_status(p_status_uuid);
  v_new := jsonb_populate_record(v_old, p_attrs - 'slug');
  if p_attrs ? 'slug' then
    v_new.slug := app.slugify(p_attrs ->> 'slug', 'status-' || v_new.position);
  end if;
  if v_new is distinct from v_old then
    update public.project_statuses as statuses
    set
      label = btrim(v_new.label), slug = v_new.slug, position = v_new.position,
      data = v_new.data, translations = v_new.translations
    where statuses.uuid = p_status_uuid;
    perform app.record_activity(
      'project_status_updated', 'project_status', p_status_uuid,
      jsonb_build_object('project_uuid', v_old.project_uuid, 'slug', v_new.slug)
    );
  end if;
  return app.status_value(p_status_uuid);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.update_project_status_row is
'Change one of a project''s own statuses. A new label keeps the slug; with a new slug the selection goes along. Attributes: label, and as add_project_status; those left out stay.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the slug is taken).';
grant execute on function public.update_project_status_row to authenticated;

create or replace function public.remove_project_status(p_status_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_status public.project_statuses;
  v_before public.projects;
begin
  perform app.require('Supervisor');
  v_status := app.lock_status(p_status_uuid);
  v_before := app.find_project(v_status.project_uuid);
  delete from public.project_statuses as statuses where statuses.uuid = p_status_uuid;
  perform app.record_activity(
    'project_status_removed', 'project_status', p_status_uuid,
    jsonb_build_object('project_uuid', v_status.project_uuid, 'slug', v_status.slug)
  );
  return app.describe_change(v_before) || '{"already_done": false}';
end;
$$;
comment on function public.remove_project_status is
'Take one of a project''s own statuses away. A project that has it selected then has none: selection_cleared.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.remove_project_status to authenticated;

-- Functions, public: languages
create or replace function public.global_use_status_translations()
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return app.setting(null, 'projects_use_status_translations')::boolean;
end;
$$;
comment on function public.global_use_status_translations is
'Whether statuses are shown in the reader''s language where the project does not say. They are unless it was set otherwise.

Role: Staff.';
grant execute on function public.global_use_status_translations to authenticated;

create or replace function public.use_status_translations(
  p_project_uuid uuid, p_global boolean default null
)
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return coalesce(
    ((app.find_project(p_project_uuid)).settings ->> 'use_status_translations')::boolean,
    p_global, public.global_use_status_translations()
  );
end;
$$;
comment on function public.use_status_translations is
'Whether the statuses of a project are shown in the reader''s language: as the project says, else the global setting, which who has read it already may hand in.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.use_status_translations to authenticated;

create or replace function public.set_use_status_translations(p_project_uuid uuid, p_use boolean)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return public.update_project_with_statuses(p_project_uuid, jsonb_build_object(
    'settings', jsonb_build_object('use_status_translations', p_use)
  ));
end;
$$;
comment on function public.set_use_status_translations is
'Say for one project whether its statuses are shown in the reader''s language; null: as the global setting says. Labels in other languages are kept either way.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.set_use_status_translations to authenticated;

create or replace function public.set_global_use_status_translations(p_use boolean)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  return public.set_setting('global', 'projects_use_status_translations', to_jsonb(p_use));
end;
$$;
comment on function public.set_global_use_status_translations is
'Say whether statuses are shown in the reader''s language where the project does not say. The setting projects_use_status_translations; for Admins of every store.

Role: Admin. Errors: BAD_INPUT (null).';
grant execute on function public.set_global_use_status_translations to authenticated;

select app.assert_grants();

commit;
