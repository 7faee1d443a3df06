-- V125 cementing: copy the statuses at the start, and keep the selection valid.
-- Needs: M0 M1 V101
--
-- Triggers enforce these rules, so no write can bypass them:
--   A start copies the list, and clears a selection that the list does not have.
--   A new list of a started project replaces its statuses, or is rejected.
--   A deleted list leaves started projects unchanged.
--   A selection follows a renamed status, and is cleared with a deleted one.
--   A project from a template gets its list, settings and selection.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('NO_STATUS_ENTITY', 'PT409', 'The project has no list, or a list without statuses.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

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
'Returns a project as reads show it, with already_done and selection_cleared.';

create or replace function app.copy_statuses(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_copied integer;
begin
  -- One statement, so that all parts see the same list. An empty list deletes no status.
  with fresh as materialized (
    select
      live.record_uuid, live.title, live.slug, live.position, live.data,
      coalesce((
        select jsonb_object_agg(texts.key, jsonb_build_object('label', texts.value ->> 'title'))
        from jsonb_each(live.translations) as texts
        where btrim(texts.value ->> 'title') <> ''
      ), '{}') as translations
    from app.published_records as live
    inner join public.projects as projects
      on live.entity_uuid = coalesce(projects.status_entity_uuid, app.default_status_list())
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
'Replaces the statuses of a project by those of its list. Returns the number of statuses. An empty list changes nothing.';

create or replace function app.recement(p_project_uuid uuid)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_copied integer;
begin
  perform app.check_catalog();
  v_copied := app.copy_statuses(p_project_uuid);
  if v_copied = 0 then
    perform app.fail(
      'NO_STATUS_ENTITY', 'The list has no statuses, and a started project needs some. Add one first.',
      jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_copied;
end;
$$;
comment on function app.recement is
'Copies the list of a started project over its statuses. Raises CATALOG_UNAVAILABLE if the catalog is off. Raises NO_STATUS_ENTITY if the list is empty.';

create or replace function app.lock_started_project(p_project_uuid uuid)
returns public.projects
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects := app.lock_project(p_project_uuid);
begin
  if v_project.started_at is null then
    perform app.fail(
      'INVALID_STATE', 'The project has not started. Start it first, which copies its statuses.',
      jsonb_build_object('project_uuid', p_project_uuid, 'state', app.project_state(v_project))
    );
  end if;
  return v_project;
end;
$$;
comment on function app.lock_started_project is
'Locks a started project. Returns the project. Raises NOT_FOUND and INVALID_STATE.';

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
    where live.entity_uuid = coalesce(new.status_entity_uuid, app.default_status_list())
    and live.slug = new.current_status_slug
  ) then
    new.current_status_slug := null;
  end if;
  return new;
end;
$$;
comment on function app.inherit_statuses is
'Trigger: copies list, settings and selection from the template to a new project. Clears a selection that the list does not have.';

create or replace function app.cement_changed_project()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if old.started_at is not null then
    -- if the list was deleted, the copied statuses stay
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
comment on function app.cement_changed_project is
'Trigger: copies the list when a project starts, and again when its list changes later. Raises CATALOG_UNAVAILABLE and NO_STATUS_ENTITY for the change.';

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
      'INVALID_STATE', 'The project has not started, so it has no statuses yet. Start it first.'
    );
  end if;
  return null;
end;
$$;
comment on function app.require_started is
'Trigger: rejects statuses of a project that has not started. Raises INVALID_STATE.';

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
comment on function app.drop_selection is 'Trigger: clears a selection when its status is deleted.';

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
'Trigger: updates a selection when the slug of its status changes.';

create or replace function app.record_selection()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.record_activity(
    'project_status_changed', 'project', new.uuid, jsonb_build_object(
      'name', new.name, 'status_slug', new.current_status_slug,
      'previous_status_slug', old.current_status_slug
    ), p_mode => case when pg_trigger_depth() > 1 then 'auto' else 'manual' end
  );
  return null;
end;
$$;
comment on function app.record_selection is
'Trigger: records every change of a selection in activities. The mode is auto if another write caused the change.';

create or replace function public.cement_project_statuses(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects;
  v_cemented integer := 0;
begin
  perform app.require('Supervisor');
  v_before := app.lock_started_project(p_project_uuid);
  if app.catalog_on() and not exists (
    select from public.project_statuses as statuses where statuses.project_uuid = p_project_uuid
  ) then
    v_cemented := app.copy_statuses(p_project_uuid);
  end if;
  return app.describe_change(v_before)
    || jsonb_build_object('cemented', v_cemented, 'already_done', v_cemented = 0);
end;
$$;
comment on function public.cement_project_statuses is
'Copies the list into a started project that has no statuses.

start_project does this if the catalog is on. Does nothing if the project has statuses or the catalog is off. cemented is the number of statuses copied.

Role: Supervisor. Errors: NOT_FOUND, INVALID_STATE (not started).';
grant execute on function public.cement_project_statuses to authenticated;

create or replace function public.recement_project_statuses(p_project_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_before public.projects;
  v_cemented integer := 0;
begin
  perform app.require('Supervisor');
  v_before := app.lock_started_project(p_project_uuid);
  if app.catalog_on() then
    v_cemented := app.recement(p_project_uuid);
  end if;
  return app.describe_change(v_before)
    || jsonb_build_object('cemented', v_cemented, 'already_done', v_cemented = 0);
end;
$$;
comment on function public.recement_project_statuses is
'Copies the list over the statuses of a started project.

Changes made to these statuses are lost. The selection stays if the list has it. Does nothing while the catalog is off. cemented is the number of statuses copied.

Role: Supervisor. Errors: NOT_FOUND, INVALID_STATE (not started), NO_STATUS_ENTITY (the list is empty).';
grant execute on function public.recement_project_statuses to authenticated;

create or replace trigger projects_inherit_statuses_insert before insert on public.projects
for each row when (new.created_from_template_uuid is not null)
execute function app.inherit_statuses();
create or replace trigger projects_inherit_statuses_update before update on public.projects
for each row when (
  new.started_at is null and old.status_entity_uuid is distinct from new.status_entity_uuid
)
execute function app.inherit_statuses();
create or replace trigger projects_cement after update on public.projects
for each row when (
  new.started_at is not null and (
    old.started_at is null or old.status_entity_uuid is distinct from new.status_entity_uuid
  )
)
execute function app.cement_changed_project();
create or replace trigger projects_record_selection after update on public.projects
for each row when (old.current_status_slug is distinct from new.current_status_slug)
execute function app.record_selection();
create or replace trigger project_statuses_require_started after insert on public.project_statuses
referencing new table as made
for each statement execute function app.require_started();
create or replace trigger project_statuses_move_selection after update on public.project_statuses
referencing old table as gone new table as made
for each statement execute function app.move_selection();
create or replace trigger project_statuses_drop_selection after delete on public.project_statuses
referencing old table as gone
for each statement execute function app.drop_selection();

create or replace function app.audit_project_statuses()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select null, format('project %s has statuses of its own before its start', statuses.project_uuid)
  from public.project_statuses as statuses
  inner join public.projects as projects on projects.uuid = statuses.project_uuid
  where projects.started_at is null;
$$;
comment on function app.audit_project_statuses is
'Invariant: only a started project has statuses of its own.';

select app.register_invariant('project_statuses', 'audit_project_statuses');

select app.assert_grants();
commit;
