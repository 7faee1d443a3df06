-- V125 selecting: select, change and translate statuses.
-- Needs: M0 M1 V101

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('INVALID_STATUS', 'PT409', 'The project has no such status. DETAIL lists its statuses.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

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
    perform app.not_found('status', 'status_uuid', p_status_uuid);
  end if;
  return v_status;
end;
$$;
comment on function app.lock_status is
'Locks the project of a status. Returns the status. Raises NOT_FOUND.';

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
      'INVALID_STATUS', 'The project has no such status. DETAIL lists its statuses.',
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
'Selects a status of a project by its slug.

Null clears the selection. Returns the project, with its new status in the key status. A repeat answers already_done.

Role: Staff. Errors: NOT_FOUND, INVALID_STATUS.';
grant execute on function public.set_current_status to authenticated;

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
    v_status, jsonb_build_object('data', '{}'::jsonb, 'translations', '{}'::jsonb, 'position', (
      select coalesce(max(statuses.position), 0) + 1 from public.project_statuses as statuses
      where statuses.project_uuid = p_project_uuid
    )) || (p_attrs - 'slug')
  );
  insert into public.project_statuses as statuses (
    project_uuid, label, slug, position, data, translations
  )
  values (
    p_project_uuid, app.clean_name(p_label),
    app.slugify(coalesce(p_attrs ->> 'slug', p_label), 'status-' || v_status.position),
    v_status.position, v_status.data, v_status.translations
  )
  returning statuses.* into v_status;
  perform app.record_activity(
    'project_status_added', 'project_status', v_status.uuid,
    jsonb_build_object('project_uuid', p_project_uuid, 'slug', v_status.slug)
  );
  return (
    v_status.uuid, v_status.label, v_status.slug, app.css_color(v_status.data), v_status.position
  )::public.status_value;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.fail_constraint(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.add_project_status is
'Adds a status to a started project.

The list in the catalog does not change. Attributes: slug (defaults to the label), position (defaults to the end), data ({"color": "#34d399"}), translations ({"es-ES": {"label": "..."}}).

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
  v_new.label := app.clean_name(v_new.label);
  if p_attrs ? 'slug' then
    v_new.slug := app.slugify(p_attrs ->> 'slug', 'status-' || v_new.position);
  end if;
  if v_new is distinct from v_old then
    update public.project_statuses as statuses
    set
      label = v_new.label, slug = v_new.slug, position = v_new.position,
      data = v_new.data, translations = v_new.translations
    where statuses.uuid = p_status_uuid
    returning statuses.* into v_new;
    perform app.record_activity(
      'project_status_updated', 'project_status', p_status_uuid,
      jsonb_build_object('project_uuid', v_old.project_uuid, 'slug', v_new.slug)
    );
  end if;
  return (
    v_new.uuid, v_new.label, v_new.slug, app.css_color(v_new.data), v_new.position
  )::public.status_value;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.fail_constraint(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.update_project_status_row is
'Changes a status of a started project.

Attributes: label, and those of add_project_status. A new label does not change the slug. The selection follows a new slug. An attribute that is left out keeps its value.

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
'Removes a status from a started project.

selection_cleared is true if that status was selected.

Role: Supervisor. Errors: NOT_FOUND.';
grant execute on function public.remove_project_status to authenticated;

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
'Changes a project and its list of statuses together.

Attributes: those of update_project. An empty status_entity_uuid means null. Settings are merged, and a null removes a key. Before the start, a new list clears a selection that it does not have. After the start, the statuses of a new list replace the old ones at once. selection_cleared tells whether the selection was cleared.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (also an unknown list), CATALOG_UNAVAILABLE (started), NO_STATUS_ENTITY (started, and the list is empty).';
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
'Sets the list that a project takes its statuses from.

Null means the default list. Follows the rules of update_project_with_statuses.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (an unknown list), CATALOG_UNAVAILABLE (started), NO_STATUS_ENTITY (started, and the list is empty).';
grant execute on function public.set_status_entity to authenticated;

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
'Sets whether a project shows its statuses in the language of the reader.

Null means the global setting. The translations themselves do not change.

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
'Sets whether projects show statuses in the language of the reader by default.

Writes the setting projects_use_status_translations. The caller must be an Admin who works in all stores.

Role: Admin. Errors: BAD_INPUT (null).';
grant execute on function public.set_global_use_status_translations to authenticated;

select app.assert_grants();
commit;
