-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.recement_project_statuses, public.cement_project_statuses, public.set_status_entity,
public.update_project_with_statuses, public.resolve_catalog_entity_uuid,
public.set_default_status_entity, public.global_default_status_entity_uuid,
public.reverse_reference_count, public.list_status_source_entities, public.shared_catalog_statuses,
public.list_catalog_statuses, public.default_statuses, public.ensure_project_status_entity,
public.create_default_status_entity, public.per_project_entity_name, public.default_entity_base,
public.statuses_available, app.cement_again, app.make_status_list, app.default_vocabulary;
do $$
begin
  if to_regclass('public.projects') is not null then
    drop function if exists app.describe_change;
  end if;
end;
$$;

commit;
