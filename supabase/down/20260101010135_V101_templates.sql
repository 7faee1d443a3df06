-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists public.create_project_from_template, app.clone_rows;

commit;
