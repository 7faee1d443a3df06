-- Takes away what the migration of this name creates. The column stays: it belongs to V101.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
declare
  v_row record;
begin
  if to_regclass('public.project_assignments') is null then
    return; -- all of it is gone already
  end if;
  select rows.uuid, rows.project_uuid into v_row
  from public.project_assignments as rows
  where rows.child_project_uuid is not null
  limit 1;
  if found then
    raise exception 'Row % of project % is a sub-project: detach every one first.',
      v_row.uuid, v_row.project_uuid;
  end if;
end;
$$;
drop function if exists
public.project_breadcrumbs, public.project_tree, public.available_projects_to_link,
public.detach_subproject, public.link_subproject, public.create_subproject, app.insert_link;

commit;
