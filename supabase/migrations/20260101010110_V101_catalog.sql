-- V101 catalog: lists of records that an application may offer to choose from.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- What there is to choose from: reading, copying and counting all ask this.
create or replace view app.published_records
with (security_invoker = true)
as
select
  records.entity_uuid,
  records.uuid as record_uuid,
  records.title,
  records.slug,
  records.data,
  records.translations,
  records.position
from public.entity_data as records
inner join public.entities as entities on records.entity_uuid = entities.uuid
where records.status = 'published' and entities.status <> 'trashed';
comment on view app.published_records is
'The published records of the lists that are not in the trash. Their order is position.';

-- Functions, internal
create or replace function app.catalog_on()
returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return app.setting(null, 'entities_enabled')::boolean;
end;
$$;
comment on function app.catalog_on is 'Whether the catalog is in use.';

create or replace function app.require_catalog(p_role text)
returns app.caller
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require(p_role);
begin
  if not app.catalog_on() then
    perform app.fail('CATALOG_UNAVAILABLE', 'The catalog is switched off.');
  end if;
  return v_caller;
end;
$$;
comment on function app.require_catalog is
'As app.require, and the catalog has to be on. Raises CATALOG_UNAVAILABLE.';

create or replace function app.free_slug(p_slug text, p_taken text[])
returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select p_slug || case when numbers.n > 1 then '-' || numbers.n else '' end
  from generate_series(1, cardinality(p_taken) + 1) as numbers (n)
  where p_slug || case when numbers.n > 1 then '-' || numbers.n else '' end <> all(p_taken)
  order by numbers.n
  limit 1;
$$;
comment on function app.free_slug is
'The slug, or with -2, -3 and so on the first that is not taken.';

create or replace function app.lock_entity(p_entity_uuid uuid)
returns public.entities
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity public.entities;
begin
  select entities.* into v_entity
  from public.entities as entities where entities.uuid = p_entity_uuid
  for no key update;
  if not found then
    perform app.fail(
      'NOT_FOUND', 'No such list.', jsonb_build_object('entity_uuid', p_entity_uuid)
    );
  end if;
  return v_entity;
end;
$$;
comment on function app.lock_entity is
'Lock a list for writing it or its records, and how it is now. Raises NOT_FOUND.';

create or replace function app.lock_record(p_record_uuid uuid)
returns public.entity_data
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_record public.entity_data;
begin
  perform from public.entities as entities
  where entities.uuid = (
    select records.entity_uuid from public.entity_data as records
    where records.uuid = p_record_uuid
  )
  for no key update;
  select records.* into v_record
  from public.entity_data as records where records.uuid = p_record_uuid;
  if not found then
    perform app.fail(
      'NOT_FOUND', 'No such record.', jsonb_build_object('record_uuid', p_record_uuid)
    );
  end if;
  return v_record;
end;
$$;
comment on function app.lock_record is
'Lock the list of a record for writing, and how the record is now. Raises NOT_FOUND.';

create or replace function app.set_entity_status(
  p_entity_uuid uuid, p_from text[], p_to text, p_event text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity public.entities := app.lock_entity(p_entity_uuid);
  v_moves boolean := v_entity.status = any(p_from);
begin
  if v_moves then
    update public.entities as entities set status = p_to
    where entities.uuid = p_entity_uuid
    returning entities.* into v_entity;
    perform app.record_activity(
      p_event, 'entity', p_entity_uuid, jsonb_build_object('name', v_entity.name), 'entities'
    );
  end if;
  return to_jsonb(v_entity) || jsonb_build_object('already_done', not v_moves);
end;
$$;
comment on function app.set_entity_status is
'Trash or restore a list. Raises NOT_FOUND.';

create or replace function app.set_record_status(
  p_record_uuid uuid, p_from text[], p_to text, p_event text
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_record public.entity_data := app.lock_record(p_record_uuid);
  v_moves boolean := v_record.status = any(p_from);
begin
  if v_moves then
    update public.entity_data as records set status = p_to
    where records.uuid = p_record_uuid
    returning records.* into v_record;
    perform app.record_activity(
      p_event, 'entity_data', p_record_uuid,
      jsonb_build_object('entity_uuid', v_record.entity_uuid, 'title', v_record.title), 'entities'
    );
  end if;
  return to_jsonb(v_record) || jsonb_build_object('already_done', not v_moves);
exception
  when unique_violation then
    perform app.fail(
      'CONFLICT', 'Another record has taken its slug.', jsonb_build_object('slug', v_record.slug)
    );
    return null;
end;
$$;
comment on function app.set_record_status is
'Trash or restore a record. Raises NOT_FOUND, and CONFLICT when its slug has been taken since.';

-- Functions, public: lists
create or replace function public.list_entities(
  p_status text default null, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select to_jsonb(entities) || jsonb_build_object(
    'label',
    app.translate(entities.display_name, entities.translations, 'display_name', p_language),
    'records', (
      select count(*) from app.published_records as records
      where records.entity_uuid = entities.uuid
    )
  )
  from public.entities as entities
  where app.catalog_on()
  and case when p_status is null then entities.status <> 'trashed' else entities.status = p_status end
  order by entities.position;
end;
$$;
comment on function public.list_entities is
'The lists of the catalog in their order, each with its label in a language and the number of its published records.

Without p_status all but the trashed ones. None while the catalog is off.

Role: Staff.';
grant execute on function public.list_entities to authenticated;

create or replace function public.create_entity(
  p_name text, p_display_name text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_catalog('Supervisor');
  v_entity public.entities;
  v_constraint text;
begin
  perform app.check_attrs(
    p_attrs, 'display_name_plural', 'description', 'icon', 'status', 'fields_definition',
    'settings', 'translations'
  );
  v_entity := jsonb_populate_record(null::public.entities, jsonb_build_object(
    'display_name_plural', p_display_name, 'status', 'published', 'fields_definition', '[]'::jsonb,
    'settings', '{}'::jsonb, 'translations', '{}'::jsonb
  ) || p_attrs);
  if v_entity.status = 'trashed' then
    perform app.fail('BAD_INPUT', 'A new list is not trashed.');
  end if;
  insert into public.entities (
    name, display_name, display_name_plural, description, icon, status, fields_definition,
    settings, translations, created_by_uuid
  )
  values (
    p_name, p_display_name, v_entity.display_name_plural, v_entity.description, v_entity.icon,
    v_entity.status, v_entity.fields_definition, v_entity.settings, v_entity.translations,
    v_caller.user_id
  )
  returning entities.* into v_entity;
  perform app.record_activity(
    'entity_created', 'entity', v_entity.uuid, jsonb_build_object('name', v_entity.name), 'entities'
  );
  return to_jsonb(v_entity);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.create_entity is
'Add a list to the catalog, at the end. Its name is for programs: 2 to 50 of a-z, 0-9 and _.

Attributes: display_name_plural (else the display name), description, icon, status (draft, published, archived), fields_definition, settings, translations.

Role: Supervisor. Errors: BAD_INPUT, CONFLICT (the name is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.create_entity to authenticated;

create or replace function public.update_entity(p_entity_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.entities;
  v_new public.entities;
  v_constraint text;
begin
  perform app.require_catalog('Supervisor');
  perform app.check_attrs(
    p_attrs, 'name', 'display_name', 'display_name_plural', 'description', 'icon', 'status',
    'fields_definition', 'settings', 'translations'
  );
  v_old := app.lock_entity(p_entity_uuid);
  v_new := jsonb_populate_record(v_old, p_attrs);
  if (v_old.status = 'trashed') <> (v_new.status = 'trashed') then
    perform app.fail('BAD_INPUT', 'Lists are trashed and restored by functions of their own.');
  end if;
  if v_new is distinct from v_old then
    update public.entities as entities
    set
      name = v_new.name, display_name = v_new.display_name,
      display_name_plural = v_new.display_name_plural, description = v_new.description,
      icon = v_new.icon, status = v_new.status, fields_definition = v_new.fields_definition,
      settings = v_new.settings, translations = v_new.translations
    where entities.uuid = p_entity_uuid
    returning entities.* into v_new;
    perform app.record_activity(
      'entity_updated', 'entity', p_entity_uuid, jsonb_build_object('name', v_new.name), 'entities'
    );
  end if;
  return to_jsonb(v_new);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.update_entity is
'Change a list, its name included. Attributes as create_entity; those left out stay, null clears.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the name is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.update_entity to authenticated;

create or replace function public.reorder_entities(p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_found uuid[];
  v_positions integer[];
begin
  perform app.require_catalog('Supervisor');
  perform app.check_order(p_uuids);
  select array_agg(locked.uuid), array_agg(locked.position) into v_found, v_positions
  from (
    select entities.uuid, entities.position from public.entities as entities
    where entities.uuid = any(p_uuids)
    order by entities.uuid
    for no key update
  ) as locked;
  update public.entities as entities set position = places.place
  from app.take_places(p_uuids, v_found, v_positions) as places
  where entities.uuid = places.uuid and entities.position <> places.place;
  if v_found is not null then
    perform app.record_activity(
      'entities_reordered', 'entity', null, jsonb_build_object('count', cardinality(v_found)),
      'entities'
    );
  end if;
  return coalesce(cardinality(v_found), 0);
end;
$$;
comment on function public.reorder_entities is
'Put these lists in this order, in the places they hold together; the others keep theirs. Unknown ids count for nothing.

Role: Supervisor. Errors: BAD_INPUT (more than 1000 ids), CATALOG_UNAVAILABLE.';
grant execute on function public.reorder_entities to authenticated;

create or replace function public.trash_entity(p_entity_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Admin');
  return app.set_entity_status(
    p_entity_uuid, array['draft', 'published', 'archived'], 'trashed', 'entity_trashed'
  );
end;
$$;
comment on function public.trash_entity is
'Take a list out of use; restore_entity brings it back with all its records. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CATALOG_UNAVAILABLE.';
grant execute on function public.trash_entity to authenticated;

create or replace function public.restore_entity(p_entity_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Admin');
  return app.set_entity_status(
    p_entity_uuid, array['trashed'], 'published', 'entity_restored'
  );
end;
$$;
comment on function public.restore_entity is
'Bring a trashed list back, as published. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CATALOG_UNAVAILABLE.';
grant execute on function public.restore_entity to authenticated;

create or replace function public.delete_entity(p_entity_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity public.entities;
begin
  perform app.require_catalog('Admin');
  v_entity := app.lock_entity(p_entity_uuid);
  if v_entity.status <> 'trashed' then
    perform app.fail(
      'CONFLICT', 'Only a trashed list can be deleted.',
      jsonb_build_object('entity_uuid', p_entity_uuid, 'status', v_entity.status)
    );
  end if;
  delete from public.entities as entities where entities.uuid = p_entity_uuid;
  perform app.record_activity(
    'entity_deleted', 'entity', p_entity_uuid, jsonb_build_object('name', v_entity.name), 'entities'
  );
  return to_jsonb(v_entity);
end;
$$;
comment on function public.delete_entity is
'Delete a trashed list and its records for good. Returns what it was.

Role: Admin. Errors: NOT_FOUND, CONFLICT (it is not in the trash), CATALOG_UNAVAILABLE.';
grant execute on function public.delete_entity to authenticated;

-- Functions, public: records
create or replace function public.list_entity_data(
  p_entity_uuid uuid, p_status text default null, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select to_jsonb(records) || jsonb_build_object(
    'label', app.translate(records.title, records.translations, 'title', p_language)
  )
  from public.entity_data as records
  where app.catalog_on() and records.entity_uuid = p_entity_uuid
  and case when p_status is null then records.status <> 'trashed' else records.status = p_status end
  order by records.position;
end;
$$;
comment on function public.list_entity_data is
'The records of a list in their order, each with its label in a language.

Without p_status all but the trashed ones; only the published ones are there to choose from. None while the catalog is off.

Role: Staff.';
grant execute on function public.list_entity_data to authenticated;

create or replace function public.create_entity_data(
  p_entity_uuid uuid, p_title text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.require_catalog('Supervisor');
  v_record public.entity_data;
  v_constraint text;
begin
  perform app.check_attrs(p_attrs, 'slug', 'status', 'data', 'translations');
  perform app.lock_entity(p_entity_uuid);
  v_record := jsonb_populate_record(
    null::public.entity_data,
    '{"status": "published", "data": {}, "translations": {}}' || p_attrs
  );
  if v_record.status = 'trashed' then
    perform app.fail('BAD_INPUT', 'A new record is not trashed.');
  end if;
  v_record.position := (
    select coalesce(max(records.position), 0) + 1 from public.entity_data as records
    where records.entity_uuid = p_entity_uuid
  );
  insert into public.entity_data (
    entity_uuid, title, slug, status, data, translations, position, created_by_uuid
  )
  values (
    p_entity_uuid, btrim(p_title),
    case when p_attrs ? 'slug' then v_record.slug else app.free_slug(
      app.slugify(p_title, 'item-' || v_record.position),
      array(
        select records.slug::text from public.entity_data as records
        where records.entity_uuid = p_entity_uuid
      )
    ) end,
    v_record.status, v_record.data, v_record.translations, v_record.position, v_caller.user_id
  )
  returning entity_data.* into v_record;
  perform app.record_activity(
    'entity_data_created', 'entity_data', v_record.uuid,
    jsonb_build_object('entity_uuid', p_entity_uuid, 'title', v_record.title), 'entities'
  );
  return to_jsonb(v_record);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.create_entity_data is
'Add a record to a list, at the end. Its slug is made from the title, with -2 and so on where that is taken, unless given.

Attributes: slug, status (draft, published, archived), data (an object, such as {"color": "#34d399"}), translations ({"es": {"title": "..."}}).

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the slug is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.create_entity_data to authenticated;

create or replace function public.update_entity_data(p_record_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.entity_data;
  v_new public.entity_data;
  v_constraint text;
begin
  perform app.require_catalog('Supervisor');
  perform app.check_attrs(p_attrs, 'title', 'slug', 'status', 'data', 'translations');
  v_old := app.lock_record(p_record_uuid);
  v_new := jsonb_populate_record(v_old, p_attrs);
  if (v_old.status = 'trashed') <> (v_new.status = 'trashed') then
    perform app.fail('BAD_INPUT', 'Records are trashed and restored by functions of their own.');
  end if;
  if v_new is distinct from v_old then
    update public.entity_data as records
    set
      title = btrim(v_new.title), slug = v_new.slug, status = v_new.status, data = v_new.data,
      translations = v_new.translations
    where records.uuid = p_record_uuid
    returning records.* into v_new;
    perform app.record_activity(
      'entity_data_updated', 'entity_data', p_record_uuid,
      jsonb_build_object('entity_uuid', v_new.entity_uuid, 'title', v_new.title), 'entities'
    );
  end if;
  return to_jsonb(v_new);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    perform app.refuse_row(sqlstate, v_constraint, sqlerrm);
    return null;
end;
$$;
comment on function public.update_entity_data is
'Change a record. A new title keeps the slug. Attributes: title, and as create_entity_data; those left out stay.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the slug is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.update_entity_data to authenticated;

create or replace function public.reorder_entity_data(p_entity_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_found uuid[];
  v_positions integer[];
begin
  perform app.require_catalog('Supervisor');
  perform app.check_order(p_uuids);
  perform app.lock_entity(p_entity_uuid);
  if exists (
    select from public.entity_data as records
    where records.uuid = any(p_uuids) and records.entity_uuid <> p_entity_uuid
  ) then
    perform app.fail('BAD_INPUT', 'Not all of these records belong to this list.');
  end if;
  select array_agg(records.uuid), array_agg(records.position) into v_found, v_positions
  from public.entity_data as records
  where records.uuid = any(p_uuids);
  update public.entity_data as records set position = places.place
  from app.take_places(p_uuids, v_found, v_positions) as places
  where records.uuid = places.uuid and records.position <> places.place;
  if v_found is not null then
    perform app.record_activity(
      'entity_data_reordered', 'entity', p_entity_uuid,
      jsonb_build_object('count', cardinality(v_found)), 'entities'
    );
  end if;
  return coalesce(cardinality(v_found), 0);
end;
$$;
comment on function public.reorder_entity_data is
'Put these records of a list in this order, in the places they hold together; the others keep theirs.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (more than 1000 ids, or a record of another list), CATALOG_UNAVAILABLE.';
grant execute on function public.reorder_entity_data to authenticated;

create or replace function public.trash_entity_data(p_record_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Admin');
  return app.set_record_status(
    p_record_uuid, array['draft', 'published', 'archived'], 'trashed', 'entity_data_trashed'
  );
end;
$$;
comment on function public.trash_entity_data is
'Take a record out of use; its slug becomes free. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CATALOG_UNAVAILABLE.';
grant execute on function public.trash_entity_data to authenticated;

create or replace function public.restore_entity_data(p_record_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Admin');
  return app.set_record_status(
    p_record_uuid, array['trashed'], 'published', 'entity_data_restored'
  );
end;
$$;
comment on function public.restore_entity_data is
'Bring a trashed record back, as published. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CONFLICT (its slug has been taken since), CATALOG_UNAVAILABLE.';
grant execute on function public.restore_entity_data to authenticated;

select app.assert_grants();

commit;
