begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.resolve_catalog_entity_uuid, public.set_default_status_entity,
public.global_default_status_entity_uuid, public.reverse_reference_count,
public.list_status_source_entities, public.shared_catalog_statuses, public.list_catalog_statuses,
public.ensure_project_status_entity, public.create_default_status_entity,
public.per_project_entity_name, public.default_statuses, public.default_entity_base,
public.statuses_available, app.make_status_list, app.standard_statuses;
commit;
