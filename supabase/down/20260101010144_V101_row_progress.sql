begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.reorder_assignments_by, public.reorder_assignments, public.move_assignment,
public.set_assignment_progress, public.start_assignment, public.reopen_assignment,
public.complete_assignment, app.reorder_rows, app.set_progress;
commit;
