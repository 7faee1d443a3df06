-- V125 core: the statuses of a project on either side of its start, and what keeps them true.
--
-- Replaces: app.has_status
-- Needs: M0 M1 V101
--
-- An unstarted project reads its list in the catalog, its own or else the default one. At the
-- start the list is copied: cemented. From then on the copies are the project's own, and a
-- selection is one of them by foreign key. All of it is triggers: no write can go around it.
--   start                    copies the list, and drops a selection that did not come along
--   another source           once started, copies that list over the old one, or is refused
--   a list that is deleted   leaves started projects alone
--   a status renamed, gone   the selection follows, or is dropped
--   a project from a template  has its source, its settings, and its selection if that fits

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal: which statuses there are
create or replace function app.safe_color(p_data jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return substring(p_data ->> 'color' from '^#[0-9A-Fa-f]{3,8}$');
end;
$$;
comment on function app.safe_color is
'The colour in the data of a status. Only a hash and 3 to 8 hex digits are one, safe in a page.';

create or replace function app.default_list()
returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (select defaults.status_entity_uuid from app.project_defaults as defaults);
end;
$$;
comment on function app.default_list is
'The list of the projects that name none. Null: there is none.';

create or replace function app.statuses_of(
  p_projects uuid[], p_language text default null, p_selected boolean default false
)
returns setof public.project_status_value
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_default uuid := app.default_list();
  v_catalog_on boolean := app.catalog_on();
  v_translated boolean := app.setting(null, 'projects_use_status_translations')::boolean;
begin
  return query
  select
    found.project_uuid, found.uuid,
    case
      when p_language is not null and coalesce(found.translated, v_translated)
      then app.translate(found.label, found.translations, found.label_field, p_language)
      else found.label
    end,
    found.slug, app.safe_color(found.data), found.position
  from (
    select
      projects.uuid as project_uuid,
      (projects.settings ->> 'use_status_translations')::boolean as translated,
      own.uuid, own.label::text as label, 'label' as label_field, own.translations,
      own.slug::text as slug, own.data, own.position, own.inserted_at
    from public.projects as projects
    inner join public.project_statuses as own
      on own.project_uuid = projects.uuid
      and (not p_selected or own.slug = projects.current_status_slug)
    where projects.uuid = any(p_projects)
    union all
    select
      projects.uuid,
      (projects.settings ->> 'use_status_translations')::boolean,
      live.record_uuid, live.title::text, 'title', live.translations,
      live.slug::text, live.data, live.position, null
    from public.projects as projects
    inner join app.published_records as live
      on live.entity_uuid = coalesce(projects.status_entity_uuid, v_default)
      and (not p_selected or live.slug = projects.current_status_slug)
    where projects.uuid = any(p_projects) and projects.started_at is null and v_catalog_on
  ) as found
  order by found.project_uuid, found.position, found.inserted_at, found.uuid;
end;
$$;
comment on function app.statuses_of is
'The statuses of these projects, or the selected ones: the one place that knows where they are and in which language they read.';

create or replace function app.has_status(p_project public.projects, p_status text)
returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return p_project.current_status_slug is not distinct from p_status;
end;
$$;
comment on function app.has_status is
'Whether the project has this status selected, from whatever list; null: none.';

-- Functions, internal: cementing
create or replace function app.copy_statuses(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_copied integer;
begin
  -- one statement, one look at the catalog: an empty list removes nothing
  with fresh as materialized (
    select
      live.record_uuid, live.title, live.slug, live.position, live.data,
      coalesce(
        (
          select jsonb_object_agg(
            texts.key, jsonb_build_object('label', texts.value ->> 'title')
          )
          from jsonb_each(live.translations) as texts
          where btrim(texts.value ->> 'title') <> ''
        ),
        '{}'
      ) as translations
    from app.published_records as live
    inner join public.projects as projects
      on live.entity_uuid = coalesce(projects.status_entity_uuid, app.default_list())
    where projects.uuid = p_project_uuid
  ),
  gone as (
    delete from public.project_statuses as statuses
    where statuses.project_uuid = p_project_uuid
    and statuses.slug not in (select fresh.slug from fresh)
    and exists (select from fresh)
  ),
  made as (
    insert into public.project_statuses as statuses (
      project_uuid, label, slug, position, data, translations, source_entity_data_uuid
    )
    select
      p_project_uuid, fresh.title, fresh.slug, fresh.position, fresh.data, fresh.translations,
      fresh.record_uuid
    from fresh
    on conflict on constraint project_statuses_project_slug_index do update
      set
        label = excluded.label, position = excluded.position, data = excluded.data,
        translations = excluded.translations,
        source_entity_data_uuid = excluded.source_entity_data_uuid
    returning statuses.uuid
  )
  select count(*) into v_copied from made;
  if v_copied > 0 then
    perform app.record_activity(
      'project_statuses_cemented', 'project', p_project_uuid,
      jsonb_build_object('count', v_copied), p_mode => 'auto'
    );
  end if;
  return v_copied;
end;
$$;
comment on function app.copy_statuses is
'Make the statuses of a project those of its list; how many there are. None in the list: nothing changes.';

create or replace function app.recement(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_copied integer;
begin
  if not app.catalog_on() then
    perform app.fail('CATALOG_UNAVAILABLE', 'The catalog is switched off.');
  end if;
  v_copied := app.copy_statuses(p_project_uuid);
  if v_copied = 0 then
    perform app.fail(
      'NO_STATUS_ENTITY', 'A started project is not left without statuses.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_copied;
end;
$$;
comment on function app.recement is
'Copy the list of a started project once more, over what it has. Raises CATALOG_UNAVAILABLE and NO_STATUS_ENTITY (an empty list).';

-- Functions, internal: what follows from a write
create or replace function app.inherit_statuses()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    select
      coalesce(new.status_entity_uuid, templates.status_entity_uuid),
      coalesce(new.current_status_slug, templates.current_status_slug),
      templates.settings || new.settings
    into new.status_entity_uuid, new.current_status_slug, new.settings
    from public.projects as templates where templates.uuid = new.created_from_template_uuid;
  end if;
  if new.current_status_slug is not null and not exists (
    select from app.published_records as live
    where live.entity_uuid = coalesce(new.status_entity_uuid, app.default_list())
    and live.slug = new.current_status_slug
  ) then
    new.current_status_slug := null;
  end if;
  return new;
end;
$$;
comment on function app.inherit_statuses is
'Trigger: a project made from a template has its source, its settings and its selection, unless it says otherwise. Another source before the start keeps a selection only if it has it too.';

create or replace function app.cement_project()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if old.started_at is not null then
    -- the list it came from is gone: the copies are what is left of it
    if old.status_entity_uuid is null or exists (
      select from public.entities as entities where entities.uuid = old.status_entity_uuid
    ) then
      perform app.recement(new.uuid);
    end if;
    return null;
  end if;
  if app.catalog_on() then
    perform app.copy_statuses(new.uuid);
  end if;
  update public.projects as projects set current_status_slug = null
  where projects.uuid = new.uuid and projects.current_status_slug is not null
  and not exists (
    select from public.project_statuses as statuses
    where statuses.project_uuid = projects.uuid and statuses.slug = projects.current_status_slug
  );
  return null;
end;
$$;
comment on function app.cement_project is
'Trigger: a project that starts copies its list, if the catalog is on; a started one with another source copies that. Raises CATALOG_UNAVAILABLE and NO_STATUS_ENTITY for the second.';

create or replace function app.require_started()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from made
    inner join public.projects as projects on projects.uuid = made.project_uuid
    where projects.started_at is null
  ) then
    perform app.fail(
      'INVALID_STATE', 'Before it starts, a project has the statuses of its list and no others.'
    );
  end if;
  return null;
end;
$$;
comment on function app.require_started is
'Trigger: only a started project has statuses of its own. Raises INVALID_STATE.';

create or replace function app.drop_selection()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  update public.projects as projects set current_status_slug = null
  from gone
  where projects.uuid = gone.project_uuid and projects.current_status_slug = gone.slug;
  return null;
end;
$$;
comment on function app.drop_selection is
'Trigger: a selection goes with its status.';

create or replace function app.move_selection()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  update public.projects as projects set current_status_slug = made.slug
  from gone
  inner join made on made.uuid = gone.uuid and made.slug <> gone.slug
  where projects.uuid = gone.project_uuid and projects.current_status_slug = gone.slug;
  return null;
end;
$$;
comment on function app.move_selection is
'Trigger: a selection follows its status to another slug.';

create or replace function app.record_selection()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.record_activity(
    'project_status_changed', 'project', new.uuid,
    jsonb_build_object(
      'name', new.name, 'status_slug', new.current_status_slug,
      'previous_status_slug', old.current_status_slug
    ),
    p_mode => case when pg_trigger_depth() > 1 then 'auto' else 'manual' end
  );
  return null;
end;
$$;
comment on function app.record_selection is
'Trigger: every change of a selection is in activities; auto where it followed from another write.';

-- Triggers
create or replace trigger projects_inherit_statuses_insert
before insert on public.projects
for each row
when (new.created_from_template_uuid is not null)
execute function app.inherit_statuses();
create or replace trigger projects_inherit_statuses_update
before update on public.projects
for each row
when (
  new.started_at is null and old.status_entity_uuid is distinct from new.status_entity_uuid
)
execute function app.inherit_statuses();
create or replace trigger projects_cement
after update on public.projects
for each row
when (
  new.started_at is not null and (
    old.started_at is null or old.status_entity_uuid is distinct from new.status_entity_uuid
  )
)
execute function app.cement_project();
create or replace trigger projects_record_selection
after update on public.projects
for each row
when (old.current_status_slug is distinct from new.current_status_slug)
execute function app.record_selection();
create or replace trigger project_statuses_require_started
after insert on public.project_statuses
referencing new table as made
for each statement execute function app.require_started();
create or replace trigger project_statuses_move_selection
after update on public.project_statuses
referencing old table as gone new table as made
for each statement execute function app.move_selection();
create or replace trigger project_statuses_drop_selection
after delete on public.project_statuses
referencing old table as gone
for each statement execute function app.drop_selection();

select app.assert_grants();

commit;
