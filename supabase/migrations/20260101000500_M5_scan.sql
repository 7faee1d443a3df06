-- M5 scan: from whatever a scanner reads to one order.
--
-- Creates: app.performer, app.require_order, app.resolve_scan, public.get_order_for_scan
-- Needs: M0
-- Re-run: safe, each statement converges

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('CANCELLED', 'PT409', 'The order is cancelled: nothing more is done to it.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

-- Functions, internal
create or replace function app.performer(p_performed_by uuid)
returns app.caller
language plpgsql
stable
set search_path = ''
as $$
declare
  v_caller app.caller := app.require('Staff', null, p_performed_by is not null);
begin
  if v_caller.kind = 'service' then
    select
      'staff', staff.user_id, staff.role,
      case when staff.store is null then v_caller.stores else array[staff.store] end
    into v_caller
    from public.staff_shared as staff
    where staff.user_id = p_performed_by and staff.is_active and staff.approved;
  end if;
  if p_performed_by is distinct from v_caller.user_id and p_performed_by is not null then
    perform app.fail(
      'PERMISSION_DENIED', 'Nobody works in the name of somebody else.',
      jsonb_build_object('performed_by', p_performed_by)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.performer(uuid) is
'Who does the work: the caller, who may also be named; for the service the active, approved member of staff that it names, and it has to.

Errors: NOT_SIGNED_IN, PERMISSION_DENIED.';

create or replace function app.require_order(
  p_role text, p_order_id text, p_store text default null
)
returns app.caller
language plpgsql
stable
set search_path = ''
as $$
declare
  v_store text := split_part(p_order_id, '-', 1);
  v_named boolean := coalesce(v_store <> '' and v_store = coalesce(p_store, v_store), false);
  v_caller app.caller := app.require(p_role, case when v_named then v_store end);
begin
  if not v_named then
    perform app.fail(
      'BAD_INPUT', 'Not the id of an order of this store.',
      jsonb_build_object('order_id', p_order_id, 'store', p_store)
    );
  end if;
  return v_caller;
end;
$$;
comment on function app.require_order(text, text, text) is
'The first line of every RPC on one order: the caller, if they have at least this role and work in the store that its id begins with.

Whether there is such an order is not asked here. Errors: NOT_SIGNED_IN, PERMISSION_DENIED, BAD_INPUT (no id, no such store, or not this store).';

-- Grants
revoke all on function app.performer(uuid), app.require_order(text, text, text)
from public, anon, authenticated, service_role;

select app.assert_grants();

commit;
