-- V125 tables: where the statuses of a project come from, which one it has, and its own copies.
--
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Types
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
'A status as every function returns it: a record of the catalog before the project starts, a row of the project after.';
comment on type public.project_status_value is 'A status, and the project it belongs to.';

-- Tables
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
create index if not exists projects_status_entity_idx on public.projects (status_entity_uuid)
where status_entity_uuid is not null;
create index if not exists projects_external_id_idx on public.projects (external_id)
where external_id is not null;
create index if not exists projects_cemented_status_idx
on public.projects (uuid, cemented_status_slug)
where cemented_status_slug is not null;
comment on column public.projects.status_entity_uuid is
'The list its statuses come from. Null: the default list. On a started project a change re-cements, whoever makes it; the list deleted leaves its statuses alone.';
comment on column public.projects.current_status_slug is
'The status selected. Before the start it names a record of the catalog, and waits for one that is gone.';
comment on column public.projects.external_id is
'What the project is called elsewhere, such as the id of an order.';
comment on column public.projects.settings is
'{"use_status_translations": true}: overrides the global setting. Other keys are refused.';
comment on column public.projects.cemented_status_slug is
'The selection of a started project, for its foreign key: one of its own statuses, always.';

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
'The statuses of started projects: copied from the catalog at the start, and from then on their own.';
comment on column public.project_statuses.data is 'As in the catalog: {"color": "#34d399"}.';
comment on column public.project_statuses.translations is '{"es-ES": {"label": "..."}}.';
comment on column public.project_statuses.source_entity_data_uuid is
'The record it was copied from. No foreign key: the copy outlives the record.';

do $$
begin
  if not exists (
    select from pg_constraint as con
    where con.conname = 'projects_cemented_status_fkey'
    and con.conrelid = 'public.projects'::regclass
  ) then
    -- deferred: a status and the selection of it change one after the other
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
'One row: the list for projects that name none. Not a setting, so that it cannot name a list that is gone.';

insert into app.setting_keys (key, shape, needs, default_value, meaning)
values
(
  'projects_use_status_translations', 'strict $.type() == "boolean"', 'true or false', 'true',
  'Whether statuses are in the language of the reader where the project does not say. Global only.'
)
on conflict (key) do update
  set
    shape = excluded.shape, needs = excluded.needs, default_value = excluded.default_value,
    meaning = excluded.meaning;

insert into app.error_codes (code, sqlstate, meaning)
values
('INVALID_STATUS', 'PT409', 'The project has no such status; DETAIL lists those it has.'),
('NO_STATUS_ENTITY', 'PT409', 'The project has no list of statuses, or one without any.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

-- Triggers
create or replace trigger project_statuses_set_updated_at
before update on public.project_statuses
for each row execute function app.set_updated_at();
create or replace trigger project_statuses_keep_identity
before update on public.project_statuses
for each row
when ((old.uuid, old.project_uuid) is distinct from (new.uuid, new.project_uuid))
execute function app.append_only();

-- Policies
do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
begin
  if not exists (
    select from pg_policies where policyname = 'project_statuses_select_authenticated'
  ) then
    create policy project_statuses_select_authenticated on public.project_statuses
    for select to authenticated using ((select app.is_staff()));
  end if;
end;
$$;

-- Grants
grant select on table public.project_statuses to authenticated;

select app.assert_grants();

commit;
