begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.record_reordering, app.assign_positions, app.sorted_ids, app.check_sort, app.check_id_list;
drop type if exists app.sortable, app.placed;
commit;
