-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.reorder_assignments_by, public.reorder_assignments, public.move_assignment,
public.delete_assignment, public.set_assignment_progress, public.start_assignment,
public.reopen_assignment, public.complete_assignment, public.update_assignment,
public.create_assignment_with_closure, public.create_assignment_from_task, public.create_assignment,
public.list_assignments, app.place_rows, app.set_progress, app.wire_rows, app.insert_row;

commit;
