-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop view if exists app.published_records;
drop function if exists
public.restore_entity_data(uuid), public.trash_entity_data(uuid),
public.reorder_entity_data(uuid, uuid[]), public.update_entity_data(uuid, jsonb),
public.create_entity_data(uuid, text, jsonb), public.list_entity_data(uuid, text, text),
public.delete_entity(uuid), public.restore_entity(uuid), public.trash_entity(uuid),
public.reorder_entities(uuid[]), public.update_entity(uuid, jsonb),
public.create_entity(text, text, jsonb), public.list_entities(text, text),
app.set_record_status(uuid, text[], text, text), app.set_entity_status(uuid, text[], text, text),
app.lock_record(uuid), app.lock_entity(uuid), app.free_slug(text, text[]),
app.require_catalog(text), app.catalog_on();

commit;
