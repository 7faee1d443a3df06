-- Takes away what the migration of this name creates, and brings back what it replaces.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
declare
  v_row record;
begin
  select rows.uuid, rows.project_uuid into v_row
  from public.project_assignments as rows
  where to_jsonb(rows) ->> 'child_project_uuid' is not null
  limit 1;
  if found then
    raise exception 'Row % of project % is a sub-project: detach those first.',
    v_row.uuid, v_row.project_uuid;
  end if;
exception
  when undefined_table then
    null; -- taken down already, and what it stands on
end;
$$;

drop function if exists
app.check_subprojects(), app.roll_up(), app.add_up_changed_rows(), app.recount_changed_tasks(),
app.recount_changed_projects() cascade;
XX
commit;
