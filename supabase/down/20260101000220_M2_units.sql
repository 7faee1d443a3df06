begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.apply_order_changes, app.edit_unit, app.add_missing_units, app.cancel_missing_units,
app.expected_unit, app.move_order_extras, app.cancel_units, app.add_units, app.line_item_id,
app.merge_attention;
commit;
