begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('stages');
end if; end $$;
drop function if exists app.audit_stages, app.act, app.advance_order, app.explain_refusal;
drop table if exists app.stage_transitions;
commit;
