begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.restore_entity_data, public.trash_entity_data, public.reorder_entity_data,
public.update_entity_data, public.create_entity_data, public.list_entity_data, public.list_entities,
app.write_record, app.set_record_status, app.lock_record, app.unused_name;
drop view if exists app.published_records;
drop table if exists public.entity_data;
commit;
