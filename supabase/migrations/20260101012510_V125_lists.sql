-- V125 lists: the lists that statuses come from.
--
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
comment on function app.standard_statuses is 'The statuses that a list made here begins with.';

create or replace function app.make_status_list(
  p_name text, p_display_name text, p_scope text, p_actor uuid
)
returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_uuid uuid;
begin
  -- waits for whoever is making the same name, and makes nothing if they did
  insert into public.entities as entities (
    name, display_name, display_name_plural, icon, settings, created_by_uuid
  )
  values (
    p_name, p_display_name, p_display_name, 'hero-flag',
    jsonb_build_object('source', 'projects', 'scope', p_scope), p_actor
  )
  on conflict (name) do nothing
  returning entities.uuid into v_entity_uuid;
  if v_entity_uuid is not null then
    insert into public.entity_data (entity_uuid, title, slug, position, created_by_uuid)
    select v_entity_uuid, words.title, words.slug, words.place, p_actor
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
'A list of that name with the default statuses, all or nothing. Null: the name is taken.';

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
'Whether the catalog is on. While it is off unstarted projects have no statuses; started ones keep theirs.

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
'What lists made by create_default_status_entity are named after.

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
  from app.standard_statuses() as words
  order by words.place;
end;
$$;
comment on function public.default_statuses is
'The six statuses that a list made here begins with, as statuses without an id.

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
'The name of the list that ensure_project_status_entity makes for a project: 47 characters, of at most 50.

Role: Staff.';
grant execute on function public.per_project_entity_name to authenticated;

create or replace function public.create_default_status_entity()
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_catalog('Supervisor');
  v_number integer;
  v_suffix text;
  v_entity_uuid uuid;
begin
  while v_entity_uuid is null loop -- again, should somebody have taken the name meanwhile
    select numbers.n into v_number
    from generate_series(1, (select count(*) + 1 from public.entities)) as numbers (n)
    where not exists (
      select from public.entities as entities
      where entities.name
      = 'project_statuses' || case when numbers.n > 1 then '_' || numbers.n else '' end
    )
    order by numbers.n
    limit 1;
    v_suffix := case when v_number > 1 then v_number::text end;
    v_entity_uuid := app.make_status_list(
      concat_ws('_', 'project_statuses', v_suffix), concat_ws(' ', 'Project Statuses', v_suffix),
      'shared', v_caller.user_id
    );
  end loop;
  return (
    select to_jsonb(entities) from public.entities as entities where entities.uuid = v_entity_uuid
  );
end;
$$;
comment on function public.create_default_status_entity is
'Make a list for many projects, with the default statuses: project_statuses, or project_statuses_2 and so on, the first name that is free. Always a new one; it does not become the default.

Role: Supervisor. Errors: CATALOG_UNAVAILABLE.';
grant execute on function public.create_default_status_entity to authenticated;

create or replace function public.ensure_project_status_entity(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_catalog('Supervisor');
  v_before public.projects := app.lock_project(p_project_uuid);
  v_name text := public.per_project_entity_name(p_project_uuid);
  v_made uuid;
  v_entity_uuid uuid;
begin
  v_made := app.make_status_list(
    v_name, left(v_before.name, 90) || ' statuses', 'project', v_caller.user_id
  );
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
'Give a project a list of its own, made with the default statuses unless it is there, and make that its source. A started project takes its statuses from it at once.

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
    live.record_uuid,
    app.translate(live.title, live.translations, 'title', p_language),
    live.slug::text, app.css_color(live.data), live.position
  from app.published_records as live
  where live.entity_uuid = p_entity_uuid and app.catalog_on()
  order by live.position;
end;
$$;
comment on function public.list_catalog_statuses is
'The statuses of a list as they are now, always in the language asked for. None without a list, from one in the trash, and while the catalog is off.

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
'The statuses of the default list, as list_catalog_statuses. None where there is no default.

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
    app.translate(
      entities.display_name, entities.translations, 'display_name', p_language
    )::text,
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
'What can be chosen as a source: first the lists made for statuses, then every other list, drafts and archived ones included. None while the catalog is off.

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
  from public.projects as projects
  where projects.started_at is null;
end;
$$;
comment on function public.reverse_reference_count is
'How many projects and templates that have not started read this list: those that name it, and those that name none while it is the default. For information; it blocks nothing.

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
'The list of the projects that name none. Null: there is none, or it has been deleted.

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
'Choose the list of the projects that name none; null for none. It counts at once for those that have not started, and for no other.

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
      'NO_STATUS_ENTITY', 'The project names no list, and there is no default.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_entity_uuid;
end;
$$;
comment on function public.resolve_catalog_entity_uuid is
'The list of a project: its own, else the default. Makes nothing.

Role: Staff. Errors: NOT_FOUND, NO_STATUS_ENTITY.';
grant execute on function public.resolve_catalog_entity_uuid to authenticated;

select app.assert_grants();

commit;
