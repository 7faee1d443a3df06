begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.act, app.advance_order, app.explain_refusal;
drop table if exists app.stage_transitions;
commit;
