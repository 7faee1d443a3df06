-- V125 statuses: the statuses of projects, and reading them.
-- Needs: M0 M1 V101
--
-- A project that has not started reads its list in the catalog, or the default list. When the
-- project starts, it copies the list. From then on it has its own statuses, and selects one.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('public.status_value') is null then
    create type public.status_value as (
      uuid uuid, label text, slug text, color text, position integer
    );
  end if;
  if to_regtype('public.project_status_value') is null then
    create type public.project_status_value as (
      project_uuid uuid, uuid uuid, label text, slug text, color text, position integer
    );
  end if;
end;
$$;

comment on type public.status_value is
'A status. Before the project starts it is a record of the catalog, afterwards a status of the project.';

comment on type public.project_status_value is 'A status with its project.';

insert into app.setting_keys (key, shape, needs, default_value, meaning)
values
(
  'projects_use_status_translations', 'strict $.type() == "boolean"', 'true or false', 'true',
  'Shows statuses in the language of the reader, unless a project says otherwise. Global only.'
)
on conflict (key) do update
  set
    shape = excluded.shape, needs = excluded.needs, default_value = excluded.default_value,
    meaning = excluded.meaning;

-- V101 creates the first four columns. An older V101 did not.
alter table public.projects
add column if not exists status_entity_uuid uuid
constraint projects_status_entity_fkey references public.entities (uuid) on delete set null,
add column if not exists current_status_slug varchar(255)
constraint projects_current_status_check check (current_status_slug <> ''),
add column if not exists external_id varchar(255)
constraint projects_external_id_check check (btrim(external_id) <> ''),
add column if not exists settings jsonb not null default '{}'
constraint projects_settings_check check ((settings @@ '
  strict $.type() == "object" && !exists($.keyvalue() ? (
    !(@.key == "use_status_translations" && @.value.type() == "boolean")
  ))
') is true),
add column if not exists cemented_status_slug varchar(255)
generated always as (case when started_at is not null then current_status_slug end) stored;
create index if not exists projects_cemented_status_idx
on public.projects (uuid, cemented_status_slug) where cemented_status_slug is not null;
comment on column public.projects.cemented_status_slug is
'The selected status of a started project. A foreign key ties it to a status of that project.';

create table if not exists public.project_statuses (
  uuid uuid primary key default gen_random_uuid(),
  project_uuid uuid not null references public.projects (uuid) on delete cascade,
  label varchar(255) not null check (btrim(label) <> ''),
  slug public.slug not null,
  position integer not null default 0,
  data jsonb not null default '{}' check (jsonb_typeof(data) = 'object'),
  translations public.translations not null default '{}',
  source_entity_data_uuid uuid,
  inserted_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  constraint project_statuses_project_slug_index unique (project_uuid, slug)
);
alter table public.project_statuses enable row level security;
comment on table public.project_statuses is
'The statuses of started projects. They are copied from the catalog at the start, and belong to the project afterwards.';
comment on column public.project_statuses.data is 'As in the catalog: {"color": "#34d399"}.';
comment on column public.project_statuses.translations is '{"es-ES": {"label": "..."}}.';
comment on column public.project_statuses.source_entity_data_uuid is
'The record that this status was copied from. Has no foreign key, because the copy outlives the record.';
grant select on table public.project_statuses to authenticated;

do $$
begin
  if not exists (
    select from pg_constraint as con
    where con.conname = 'projects_cemented_status_fkey'
    and con.conrelid = 'public.projects'::regclass
  ) then
    -- deferred, because a status is renamed before the selection follows
    alter table public.projects
    add constraint projects_cemented_status_fkey foreign key (uuid, cemented_status_slug)
    references public.project_statuses (project_uuid, slug) deferrable initially deferred;
  end if;
end;
$$;

create table if not exists app.project_defaults (
  only_row boolean primary key default true check (only_row),
  status_entity_uuid uuid references public.entities (uuid) on delete set null
);
create index if not exists project_defaults_status_entity_idx
on app.project_defaults (status_entity_uuid);
insert into app.project_defaults (only_row) values (true) on conflict (only_row) do nothing;
alter table app.project_defaults enable row level security;
comment on table app.project_defaults is
'One row with the list for projects that name none. A table, not a setting, because a foreign key clears the value when the list is deleted.';

create or replace function app.css_color(p_data jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return substring(p_data ->> 'color' from '^#[0-9A-Fa-f]{3,8}$');
end;
$$;
comment on function app.css_color is
'Returns the colour of a status, such as #34d399. Returns null unless the colour is # and 3 to 8 hex digits. Anything else is unsafe in a page.';

create or replace function app.default_status_list()
returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (select defaults.status_entity_uuid from app.project_defaults as defaults);
end;
$$;
comment on function app.default_status_list is
'Returns the list for projects that name none. Returns null if there is no default.';

create or replace function app.statuses_of(
  p_projects uuid[], p_language text default null, p_selected boolean default false
)
returns setof public.project_status_value
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_default uuid := app.default_status_list();
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
    found.slug, app.css_color(found.data), found.position
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
'Returns the statuses of these projects, or only the selected ones, in the given language.';

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
'Returns true if the project has been started.

A start in the future counts too. A started project has its own statuses.

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
'Returns the statuses that a project can have, by position.

A started project has its own statuses. Before the start, the statuses come from its list, or else from the default list. Returns nothing before the start if there is no such list, or if the catalog is off. Labels are in the given language unless use_status_translations is false.

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
'Returns the selected status of a project.

Returns no row if nothing is selected. Before the start, also returns no row if the record is missing or the catalog is off. Labels follow the rules of statuses_for.

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
'Lists the statuses of a started project, by position.

Returns nothing before the project starts. Labels follow the rules of statuses_for.

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
'Returns one status of a started project.

Returns no row if the project has no such status.

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
'Returns the selected status of each of these projects in one read.

Returns one row for each project. The status is null if the project has none. Labels follow the rules of statuses_for.

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
'Returns the statuses that projects have selected, each with its number of projects.

An application can offer them as filters for list_projects.

Role: Staff.';
grant execute on function public.selected_statuses to authenticated;

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
'Returns the global setting for translated statuses.

The default is true. A project can override this setting.

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
'Returns true if a project shows its statuses in the language of the reader.

Uses the setting of the project, then p_global, then the global setting. Pass p_global if you have already read the global setting.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.use_status_translations to authenticated;

create or replace trigger project_statuses_set_updated_at before update on public.project_statuses
for each row execute function app.set_updated_at();
create or replace trigger project_statuses_keep_identity before update on public.project_statuses
for each row when ((old.uuid, old.project_uuid) is distinct from (new.uuid, new.project_uuid))
execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'project_statuses_select_authenticated') then
    create policy project_statuses_select_authenticated on public.project_statuses
    for select to authenticated using ((select app.is_staff()));
  end if;
end;
$$;

select app.assert_grants();
commit;
