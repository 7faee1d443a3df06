-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.apply_template_dependencies(uuid), public.remove_dependency(uuid, uuid),
public.add_dependency(uuid, uuid);

commit;
