-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop view if exists app.published_records;
drop function if exists
public.restore_entity_data, public.trash_entity_data, public.reorder_entity_data,
public.update_entity_data, public.create_entity_data, public.list_entity_data, public.delete_entity,
public.restore_entity, public.trash_entity, public.reorder_entities, public.update_entity,
public.create_entity, public.list_entities, app.set_record_status, app.set_entity_status,
app.lock_record, app.lock_entity, app.free_slug, app.require_catalog, app.catalog_on;

commit;
