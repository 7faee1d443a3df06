-- V125 lists: create and choose the lists that statuses come from.
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.standard_statuses()
returns table (title text, slug text, place integer)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  values
  ('Backlog', 'backlog', 1), ('Planned', 'planned', 2), ('In Progress', 'in-progress', 3),
  ('Blocked', 'blocked', 4), ('In Review', 'in-review', 5), ('Done', 'done', 6);
$$;
comment on function app.standard_statuses is 'Returns the statuses of a new list.';

create or replace function app.make_status_list(p_name text, p_display_name text, p_scope text)
returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor uuid := (app.actor()).user_id;
  v_entity_uuid uuid;
begin
  -- If another transaction is creating this name, wait for it, then insert nothing.
  insert into public.entities as entities (
    name, display_name, display_name_plural, icon, settings, created_by_uuid
  )
  values (
    p_name, p_display_name, p_display_name, 'hero-flag',
    jsonb_build_object('source', 'projects', 'scope', p_scope), v_actor
  )
  on conflict (name) do nothing
  returning entities.uuid into v_entity_uuid;
  if v_entity_uuid is not null then
    insert into public.entity_data (entity_uuid, title, slug, position, created_by_uuid)
    select v_entity_uuid, words.title, words.slug, words.place, v_actor
    from app.standard_statuses() as words;
    perform app.record_activity(
      'status_entity_provisioned', 'entity', v_entity_uuid,
      jsonb_build_object('entity_name', p_name, 'scope', p_scope)
    );
  end if;
  return v_entity_uuid;
end;
$$;
comment on function app.make_status_list is
'Creates a list of this name with the standard statuses. Returns null if the name is taken.';

create or replace function public.statuses_available()
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return app.catalog_on();
end;
$$;
comment on function public.statuses_available is
'Returns true while the catalog is on.

While the catalog is off, projects that have not started have no statuses. Started projects keep theirs.

Role: Staff.';
grant execute on function public.statuses_available to authenticated;

create or replace function public.default_entity_base()
returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return 'project_statuses';
end;
$$;
comment on function public.default_entity_base is
'Returns the base name of lists that create_default_status_entity creates.

Role: Staff.';
grant execute on function public.default_entity_base to authenticated;

create or replace function public.default_statuses()
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select null::uuid, words.title, words.slug, null::text, words.place
  from app.standard_statuses() as words order by words.place;
end;
$$;
comment on function public.default_statuses is
'Returns the six standard statuses of a new list, without ids.

Role: Staff.';
grant execute on function public.default_statuses to authenticated;

create or replace function public.per_project_entity_name(p_project_uuid uuid)
returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return 'project_status_' || replace(p_project_uuid::text, '-', '');
end;
$$;
comment on function public.per_project_entity_name is
'Returns the name of the list that ensure_project_status_entity creates for a project.

Role: Staff.';
grant execute on function public.per_project_entity_name to authenticated;

create or replace function public.create_default_status_entity()
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_entity_uuid uuid;
begin
  perform app.require_catalog('Supervisor');
  while v_entity_uuid is null loop -- repeats if another transaction took the name
    v_name := app.unused_name('project_statuses', array(
      select entities.name from public.entities as entities
    ), '_');
    v_entity_uuid := app.make_status_list(
      v_name, concat_ws(' ', 'Project Statuses', substring(v_name from '[0-9]+$')), 'shared'
    );
  end loop;
  return (
    select to_jsonb(entities) from public.entities as entities where entities.uuid = v_entity_uuid
  );
end;
$$;
comment on function public.create_default_status_entity is
'Creates a list with the standard statuses. Many projects can share the list.

The name is project_statuses, or the first free one of project_statuses_2 and so on. The new list does not become the default.

Role: Supervisor. Errors: CATALOG_UNAVAILABLE.';
grant execute on function public.create_default_status_entity to authenticated;

create or replace function public.ensure_project_status_entity(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects;
  v_name text;
  v_made uuid;
  v_entity_uuid uuid;
begin
  perform app.require_catalog('Supervisor');
  v_before := app.lock_project(p_project_uuid);
  v_name := public.per_project_entity_name(p_project_uuid);
  v_made := app.make_status_list(v_name, left(v_before.name, 90) || ' statuses', 'project');
  v_entity_uuid := coalesce(
    v_made, (select entities.uuid from public.entities as entities where entities.name = v_name)
  );
  perform app.update_project(
    p_project_uuid, jsonb_build_object('status_entity_uuid', v_entity_uuid)
  );
  return app.describe_change(v_before) || jsonb_build_object('list_created', v_made is not null);
end;
$$;
comment on function public.ensure_project_status_entity is
'Gives a project its own list of statuses.

Creates the list with the standard statuses if it does not exist. list_created is true if this call created it. A started project copies the list at once.

Role: Supervisor. Errors: NOT_FOUND, CATALOG_UNAVAILABLE, NO_STATUS_ENTITY (started, and the list is empty).';
grant execute on function public.ensure_project_status_entity to authenticated;

create or replace function public.list_catalog_statuses(
  p_entity_uuid uuid, p_language text default null
)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    live.record_uuid, app.translate(live.title, live.translations, 'title', p_language),
    live.slug::text, app.css_color(live.data), live.position
  from app.published_records as live
  where live.entity_uuid = p_entity_uuid and app.catalog_on()
  order by live.position;
end;
$$;
comment on function public.list_catalog_statuses is
'Lists the statuses of a list in the given language.

Returns nothing if the list does not exist or is trashed, or while the catalog is off.

Role: Staff.';
grant execute on function public.list_catalog_statuses to authenticated;

create or replace function public.shared_catalog_statuses(p_language text default null)
returns setof public.status_value
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select statuses.uuid, statuses.label, statuses.slug, statuses.color, statuses.position
  from public.list_catalog_statuses(app.default_status_list(), p_language) as statuses;
end;
$$;
comment on function public.shared_catalog_statuses is
'Lists the statuses of the default list, as list_catalog_statuses does.

Returns nothing if there is no default list.

Role: Staff.';
grant execute on function public.shared_catalog_statuses to authenticated;

create or replace function public.list_status_source_entities(p_language text default null)
returns table (source_group text, label text, uuid uuid)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    case when tagged.is_list then 'Status lists' else 'Other entities' end,
    app.translate(entities.display_name, entities.translations, 'display_name', p_language)::text,
    entities.uuid
  from public.entities as entities
  cross join lateral (
    select coalesce(entities.settings ->> 'source' = 'projects', false) as is_list
  ) as tagged
  where app.catalog_on() and entities.status <> 'trashed'
  order by tagged.is_list desc, entities.position;
end;
$$;
comment on function public.list_status_source_entities is
'Lists the lists that a project can take its statuses from.

Lists made for statuses come first, then all other lists, including drafts and archived ones. Trashed lists are omitted. Returns nothing while the catalog is off.

Role: Staff.';
grant execute on function public.list_status_source_entities to authenticated;

create or replace function public.reverse_reference_count(p_entity_uuid uuid)
returns table (explicit bigint, implicit bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select
    count(*) filter (where projects.status_entity_uuid = p_entity_uuid),
    count(*) filter (
      where projects.status_entity_uuid is null and (select app.default_status_list()) = p_entity_uuid
    )
  from public.projects as projects where projects.started_at is null;
end;
$$;
comment on function public.reverse_reference_count is
'Counts the projects and templates that use a list and have not started.

explicit counts those that name the list. implicit counts those that use the list as the default. The counts prevent no change.

Role: Staff.';
grant execute on function public.reverse_reference_count to authenticated;

create or replace function public.global_default_status_entity_uuid()
returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return app.default_status_list();
end;
$$;
comment on function public.global_default_status_entity_uuid is
'Returns the default list, for projects that name none.

Returns null if there is no default list.

Role: Staff.';
grant execute on function public.global_default_status_entity_uuid to authenticated;

create or replace function public.set_default_status_entity(p_entity_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Admin');
  if p_entity_uuid is not null and not exists (
    select from public.entities as entities
    where entities.uuid = p_entity_uuid and entities.status <> 'trashed'
    for key share
  ) then
    perform app.not_found('list', 'entity_uuid', p_entity_uuid);
  end if;
  update app.project_defaults as defaults set status_entity_uuid = p_entity_uuid
  where defaults.status_entity_uuid is distinct from p_entity_uuid;
  if found then
    perform app.record_activity(
      'default_status_entity_set', 'entity', p_entity_uuid,
      jsonb_build_object('entity_uuid', p_entity_uuid)
    );
  end if;
  return jsonb_build_object('status_entity_uuid', p_entity_uuid, 'already_done', not found);
end;
$$;
comment on function public.set_default_status_entity is
'Sets the default list, for projects that name none.

Null removes the default. The change applies at once to projects that have not started. Started projects do not change.

Role: Admin. Errors: NOT_FOUND.';
grant execute on function public.set_default_status_entity to authenticated;

create or replace function public.resolve_catalog_entity_uuid(p_project_uuid uuid)
returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_uuid uuid;
begin
  perform app.require('Staff');
  v_entity_uuid := coalesce(
    (app.find_project(p_project_uuid)).status_entity_uuid, app.default_status_list()
  );
  if v_entity_uuid is null then
    perform app.fail(
      'NO_STATUS_ENTITY', 'The project has no list. Set its list or the default list first.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_entity_uuid;
end;
$$;
comment on function public.resolve_catalog_entity_uuid is
'Returns the list of a project, or else the default list.

Role: Staff. Errors: NOT_FOUND, NO_STATUS_ENTITY.';
grant execute on function public.resolve_catalog_entity_uuid to authenticated;

select app.assert_grants();
commit;
