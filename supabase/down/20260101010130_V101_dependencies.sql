-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.apply_template_dependencies, public.remove_dependency, public.add_dependency;

commit;
