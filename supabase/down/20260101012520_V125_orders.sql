begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.create_project_from_order, public.get_project_for_order, app.project_of_order;
commit;
