begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('assignees');
end if; end $$;
drop function if exists
public.bulk_assign, public.assign_staff_bulk, public.unassign_staff, public.assign_staff,
app.audit_assignees, app.set_assignee;
commit;
