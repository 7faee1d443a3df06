begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.delete_task, public.delete_assignment, public.update_assignment,
public.create_assignment_with_closure, public.create_assignment_from_task, public.create_assignment,
public.list_assignments, app.create_row, app.insert_row;
commit;
