begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.set_cell;
commit;
