-- Takes away what the migration of this name creates, and puts back what it replaced.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.inherit_statuses, app.cement_project, app.require_started, app.drop_selection,
app.move_selection, app.record_selection cascade;
do $$
begin
  if to_regclass('public.projects') is not null then
    create or replace function app.has_status(p_project public.projects, p_status text)
    returns boolean
    language sql
    stable
    set search_path = pg_catalog, pg_temp
    as $body$
      select p_status is null;
    $body$;
    comment on function app.has_status(public.projects, text) is
    'Whether the project has this status selected; null: none. Here none ever has.';
  end if;
end;
$$;
drop function if exists
app.recement, app.copy_statuses, app.statuses_of, app.default_list, app.safe_color;

commit;
