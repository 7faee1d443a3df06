begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.audit_all, app.find_violations, app.register_invariant;
drop table if exists app.invariants;
drop type if exists app.violation;
commit;
