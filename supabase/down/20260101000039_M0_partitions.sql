begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.add_partition;
commit;
