-- The columns stay, because V101 owns them.
begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$
declare
  v_row record;
begin
  if to_regclass('public.project_assignments') is null then
    return; -- V101 is already rolled back
  end if;
  select rows.uuid, rows.project_uuid into v_row
  from public.project_assignments as rows
  where rows.child_project_uuid is not null
  limit 1;
  if found then
    raise exception 'Row % of project % is a sub-project. Detach every sub-project first.',
      v_row.uuid, v_row.project_uuid;
  end if;
end;
$$;
drop function if exists
public.project_breadcrumbs, public.project_tree, public.available_projects_to_link,
public.detach_subproject, public.link_subproject, public.create_subproject, app.insert_link;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('ALREADY_SUBPROJECT', 'SELF_LINK');
end if; end $$;
commit;
