-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.reorder_projects_by, public.reorder_projects, public.project_buckets, public.count_projects,
public.list_projects, public.get_project, public.delete_project, public.unarchive_project,
public.archive_project, public.start_project, public.update_project, public.create_project,
app.place_projects, app.find_projects, app.delete_project_tree, app.update_project, app.write_attrs;
do $$
begin
  if to_regclass('public.projects') is not null then
    drop function if exists app.describe_project, app.insert_project;
  end if;
end;
$$;

commit;
