-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.inherit_statuses, app.cement_project, app.require_started, app.drop_selection,
app.move_selection, app.record_selection cascade;
drop function if exists
app.recement, app.copy_statuses, app.statuses_of, app.default_list, app.safe_color;

commit;
