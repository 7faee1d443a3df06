-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.reorder_projects_by(text, uuid[], boolean), public.reorder_projects(uuid[], boolean),
public.project_buckets(text), public.count_projects(boolean, text, text, text),
public.list_projects(boolean, text, text, text, text, text, integer, text),
public.get_project(uuid, text), public.delete_project(uuid), public.unarchive_project(uuid),
public.archive_project(uuid), public.start_project(uuid, timestamptz),
public.update_project(uuid, jsonb), public.create_project(text, jsonb), app.place_projects(uuid[]),
app.find_projects(boolean, text, text, text), app.delete_project_tree(uuid),
app.update_project(uuid, jsonb), app.write_attrs(uuid, jsonb);
do $$
begin
  if to_regclass('public.projects') is not null then
    drop function if exists
    app.describe_project(public.projects, text),
    app.insert_project(text, jsonb, public.projects);
  end if;
end;
$$;

commit;
