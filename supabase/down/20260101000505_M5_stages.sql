begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists app.advance_order;
drop table if exists app.stage_transitions;

commit;
