begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.edit_units, app.unit_view, app.move_lead, app.cancel_units, app.add_units, app.line_id,
app.reconsider, app.attention;

commit;
