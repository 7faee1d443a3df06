begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.reorder_projects_by, public.reorder_projects, public.project_buckets, public.count_projects,
public.list_projects, app.reorder_projects, app.find_projects;
commit;
