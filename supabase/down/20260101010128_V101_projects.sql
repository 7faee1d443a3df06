begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.delete_entity, public.get_project, public.delete_project, public.unarchive_project,
public.archive_project, public.start_project, public.update_project, public.create_project,
app.delete_project_tree, app.update_project, app.insert_project, app.write_status_attrs,
app.describe_project, app.project_state;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('INVALID_STATE', 'STILL_A_SUBPROJECT');
end if; end $$;
commit;
