begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.set_global_use_status_translations, public.set_use_status_translations,
public.set_status_entity, public.update_project_with_statuses, public.remove_project_status,
public.update_project_status_row, public.add_project_status, public.set_current_status,
app.lock_status;
do $$ begin if to_regclass('app.error_codes') is not null then
  delete from app.error_codes as codes where codes.code in ('INVALID_STATUS');
end if; end $$;
commit;
