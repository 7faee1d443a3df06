-- Takes away what the migration of this name creates, and puts back what it replaced.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.recement_project_statuses(uuid), public.cement_project_statuses(uuid),
public.set_status_entity(uuid, uuid), public.update_project_with_statuses(uuid, jsonb),
public.resolve_catalog_entity_uuid(uuid), public.set_default_status_entity(uuid),
public.global_default_status_entity_uuid(), public.reverse_reference_count(uuid),
public.list_status_source_entities(text), public.shared_catalog_statuses(text),
public.list_catalog_statuses(uuid, text), public.default_statuses(),
public.ensure_project_status_entity(uuid), public.create_default_status_entity(),
public.per_project_entity_name(uuid), public.default_entity_base(), public.statuses_available(),
app.cement_again(uuid, boolean), app.make_status_list(text, text, text, uuid),
app.default_vocabulary();
do $$
begin
  if to_regclass('public.projects') is not null then
    drop function if exists app.describe_change(public.projects);
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
