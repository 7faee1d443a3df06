-- Takes away what the migration of this name creates, and puts back what it replaced.

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
  if to_regprocedure('app.write_attrs(uuid, jsonb)') is not null then
    create or replace function app.write_attrs(p_project_uuid uuid, p_attrs jsonb)
    returns jsonb
    language sql
    volatile
    set search_path = pg_catalog, pg_temp
    as $body$
      select p_attrs;
    $body$;
    comment on function app.write_attrs(uuid, jsonb) is
    'What later layers let a caller set on a project: write it, and return the attributes that are left. Here: all of them.';
  end if;
end;
$$;

commit;
