begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.restore_entity, public.trash_entity, public.reorder_entities, public.update_entity,
public.create_entity, app.write_entity, app.set_entity_status, app.lock_entity, app.require_catalog,
app.check_catalog, app.catalog_on;
drop table if exists public.entities;
do $$
begin
  if to_regclass('app.setting_keys') is not null then
    delete from public.settings as settings
    where settings.key = 'entities_enabled';
    delete from app.setting_keys as keys where keys.key = 'entities_enabled';
  end if;
  if to_regclass('app.error_codes') is not null then
    delete from app.error_codes as codes
    where codes.code in ('CATALOG_UNAVAILABLE');
  end if;
end;
$$;
commit;
