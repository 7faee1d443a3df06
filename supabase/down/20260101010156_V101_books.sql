begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants
  where invariants.name in (
    'project_sums', 'project_completion', 'subprojects', 'project_trees'
  );
end if; end $$;
drop function if exists
app.audit_project_trees, app.audit_subprojects, app.audit_project_completion,
app.audit_project_sums;
commit;
