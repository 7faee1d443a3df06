-- V125 orders: a cake that needs more than five stages is a project as well.
--
-- Needs: M0 V101
--
-- A file of its own: nothing else in the V family knows orders, and this is all it knows of them.
-- Lock order: the order, then projects.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.order_project(p_order_id text)
returns public.projects
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  select projects.* into v_project
  from public.projects as projects
  where projects.external_id = p_order_id and not projects.is_template
  order by app.is_archived(projects), projects.position desc
  limit 1;
  return v_project;
end;
$$;
comment on function app.order_project is
'The project of an order: the last one made, archived ones only if there is no other. Null: it has none.';

-- Functions, public
create or replace function public.get_project_for_order(
  p_order_id text, p_language text default null
)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Staff', split_part(p_order_id, '-', 1));
  if not exists (
    select from public.orders as orders
    where orders.store = split_part(p_order_id, '-', 1) and orders.id = p_order_id
  ) then
    perform app.fail('NOT_FOUND', 'No such order.', jsonb_build_object('order_id', p_order_id));
  end if;
  v_project := app.order_project(p_order_id);
  if v_project.uuid is null then
    return null;
  end if;
  return app.describe_project(v_project, p_language) || jsonb_build_object('status', (
    select to_jsonb(statuses) - 'project_uuid'
    from app.statuses_of(array[v_project.uuid], p_language, true) as statuses
  ));
end;
$$;
comment on function public.get_project_for_order is
'The project of an order, as get_project, and the status it has: what the page of the order shows, completed_at above all. Null: the order has none.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT (no such store).';
grant execute on function public.get_project_for_order to authenticated;

create or replace function public.create_project_from_order(
  p_order_id text, p_template_uuid uuid
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_order record;
  v_project public.projects;
begin
  perform app.require('Supervisor', split_part(p_order_id, '-', 1));
  -- one maker of a project at a time
  select orders.id, orders.product_title, orders.cancelled_at into v_order
  from public.orders as orders
  where orders.store = split_part(p_order_id, '-', 1) and orders.id = p_order_id
  for no key update;
  if not found then
    perform app.fail('NOT_FOUND', 'No such order.', jsonb_build_object('order_id', p_order_id));
  end if;
  v_project := app.order_project(p_order_id);
  if v_project.uuid is not null and not app.is_archived(v_project) then
    return app.describe_project(v_project) || '{"already_done": true}';
  end if;
  if v_order.cancelled_at is not null then
    perform app.fail(
      'CONFLICT', 'The order is cancelled.', jsonb_build_object('order_id', p_order_id)
    );
  end if;
  return public.create_project_from_template(
    p_template_uuid, left(concat_ws(' ', v_order.product_title, p_order_id), 255),
    jsonb_build_object('external_id', p_order_id)
  ) || '{"already_done": false}';
end;
$$;
comment on function public.create_project_from_order is
'Make a project for an order from a template, named after the cake and the order, which its external_id holds. An order has one: a repeat returns it and answers already_done, unless it has been archived.

Role: Supervisor. Errors: NOT_FOUND (no such order, no such template), BAD_INPUT (no such store), CONFLICT (the order is cancelled).';
grant execute on function public.create_project_from_order to authenticated;

select app.assert_grants();

commit;
