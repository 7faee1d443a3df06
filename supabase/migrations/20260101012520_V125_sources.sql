-- V125 sources: the lists that statuses come from: made, chosen, and chosen for everybody.
--
-- Replaces: app.write_attrs
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.write_attrs(p_project_uuid uuid, p_attrs jsonb)
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
comment on function app.write_attrs is
'Write status_entity_uuid ("" is null), external_id and settings (merged; a null takes a key out), and return the attributes that are left. For callers that have locked the project.';

create or replace function app.default_vocabulary()
returns table (title text, slug text, place integer)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  values
  ('Backlog', 'backlog', 1), ('Planned', 'planned', 2), ('In Progress', 'in-progress', 3),
  ('Blocked', 'blocked', 4), ('In Review', 'in-review', 5), ('Done', 'done', 6);
$$;
comment on function app.default_vocabulary is 'The statuses that a list made here begins with.';

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
    from app.default_vocabulary() as words;
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

create or replace function app.describe_change(p_before public.projects)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_after public.projects := app.find_project(p_before.uuid);
begin
  return app.describe_project(v_after) || jsonb_build_object(
    'already_done', v_after is not distinct from p_before,
    'selection_cleared',
    p_before.current_status_slug is not null and v_after.current_status_slug is null
  );
end;
$$;
comment on function app.describe_change is
'A project as reads return it, and what a call has done to it: nothing, or to its selection.';

create or replace function app.cement_again(p_project_uuid uuid, p_over boolean)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects := app.lock_project(p_project_uuid);
  v_cemented integer := 0;
begin
  if v_before.started_at is null then
    perform app.fail(
      'INVALID_STATE', 'Statuses are cemented when the project starts.',
      jsonb_build_object('project_uuid', p_project_uuid, 'state', app.project_state(v_before))
    );
  end if;
  if app.catalog_on() and p_over then
    v_cemented := app.recement(p_project_uuid);
  elsif app.catalog_on() and not exists (
    select from public.project_statuses as statuses where statuses.project_uuid = p_project_uuid
  ) then
    v_cemented := app.copy_statuses(p_project_uuid);
  end if;
  return app.describe_change(v_before)
    || jsonb_build_object('cemented', v_cemented, 'already_done', v_cemented = 0);
end;
$$;
comment on function app.cement_again is
'Cement a project that has started: over what it has, or only where it has nothing. Raises NOT_FOUND, INVALID_STATE and NO_STATUS_ENTITY.';

-- Functions, public: what there is
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
  from app.default_vocabulary() as words
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

-- Functions, public: lists
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
    live.slug::text, app.safe_color(live.data), live.position
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
  from public.list_catalog_statuses(app.default_list(), p_language) as statuses;
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
      where projects.status_entity_uuid is null and (select app.default_list()) = p_entity_uuid
    )
  from public.projects as projects
  where projects.started_at is null;
end;
$$;
comment on function public.reverse_reference_count is
'How many projects and templates that have not started read this list: those that name it, and those that name none while it is the default. For information; it blocks nothing.

Role: Staff.';
grant execute on function public.reverse_reference_count to authenticated;

-- Functions, public: the default
create or replace function public.global_default_status_entity_uuid()
returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return app.default_list();
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
    perform app.fail(
      'NOT_FOUND', 'No such list.', jsonb_build_object('entity_uuid', p_entity_uuid)
    );
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

-- Functions, public: the source of a project
create or replace function public.resolve_catalog_entity_uuid(p_project_uuid uuid)
returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_uuid uuid;
begin
  perform app.require('Staff');
  v_entity_uuid := coalesce(
    (app.find_project(p_project_uuid)).status_entity_uuid, app.default_list()
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

create or replace function public.update_project_with_statuses(p_project_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects;
begin
  perform app.require('Supervisor');
  v_before := app.lock_project(p_project_uuid);
  perform app.update_project(p_project_uuid, p_attrs);
  return app.describe_change(v_before);
end;
$$;
comment on function public.update_project_with_statuses is
'Change a project, its source included, all or nothing. Attributes as update_project, and status_entity_uuid ("" is null), external_id, settings (merged; a null takes a key out).

Before the start another source drops a selection that it does not have. After the start its statuses replace those of the project at once, and the selection stays if it is among them; the same source changes nothing. selection_cleared says what became of it.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (also no such list), CATALOG_UNAVAILABLE (started), NO_STATUS_ENTITY (started, and the list is empty).';
grant execute on function public.update_project_with_statuses to authenticated;

create or replace function public.set_status_entity(
  p_project_uuid uuid, p_entity_uuid uuid default null
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return public.update_project_with_statuses(
    p_project_uuid, jsonb_build_object('status_entity_uuid', p_entity_uuid)
  );
end;
$$;
comment on function public.set_status_entity is
'Choose the list that a project has its statuses from; null: the default one. As update_project_with_statuses.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (no such list), CATALOG_UNAVAILABLE (started), NO_STATUS_ENTITY (started, and the list is empty).';
grant execute on function public.set_status_entity to authenticated;

create or replace function public.cement_project_statuses(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return app.cement_again(p_project_uuid, false);
end;
$$;
comment on function public.cement_project_statuses is
'Copy its list into a started project that has no statuses, as when the catalog was off at the start: start_project itself does the rest. Does nothing to one that has some, and nothing while the catalog is off; cemented says how many it copied.

Role: Supervisor. Errors: NOT_FOUND, INVALID_STATE (not started).';
grant execute on function public.cement_project_statuses to authenticated;

create or replace function public.recement_project_statuses(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Supervisor');
  return app.cement_again(p_project_uuid, true);
end;
$$;
comment on function public.recement_project_statuses is
'Copy its list once more over the statuses of a started project; what was changed by hand is lost. The selection stays if it is among them. Changes nothing at all while the catalog is off; cemented says how many it copied.

Role: Supervisor. Errors: NOT_FOUND, INVALID_STATE (not started), NO_STATUS_ENTITY (the list is empty).';
grant execute on function public.recement_project_statuses to authenticated;

select app.assert_grants();

commit;
