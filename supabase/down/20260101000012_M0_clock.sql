begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.now;
drop table if exists app.clock;
drop function if exists app.mark_clock;
commit;
