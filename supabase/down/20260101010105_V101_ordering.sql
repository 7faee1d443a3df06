-- Drops what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists app.assign_positions, app.check_sort, app.check_id_list;

commit;
