-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.reorder_assignments_by(uuid, text, uuid[]), public.reorder_assignments(uuid, uuid[]),
public.move_assignment(uuid, uuid), public.delete_assignment(uuid),
public.set_assignment_progress(uuid, integer), public.start_assignment(uuid),
public.reopen_assignment(uuid), public.complete_assignment(uuid),
public.update_assignment(uuid, jsonb),
public.create_assignment_with_closure(uuid, uuid, uuid[], jsonb),
public.create_assignment_from_task(uuid, uuid, jsonb), public.create_assignment(uuid, uuid, jsonb),
public.list_assignments(uuid, text), app.place_rows(uuid, uuid[]),
app.set_progress(uuid, text, integer), app.wire_rows(uuid, uuid[], uuid[], uuid[]),
app.insert_row(uuid, uuid, jsonb, boolean);

commit;
