begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.bulk_assign, public.assign_staff_bulk, public.unassign_staff, public.assign_staff,
app.set_assignee;
commit;
