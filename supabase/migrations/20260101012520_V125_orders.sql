-- V125 orders: the project of a bakery order.
-- Needs: M0 M1 V101
--
-- No other file of V101, V125 or V127 uses bakery orders. The order is locked before any project.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.project_of_order(p_order_id text)
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
comment on function app.project_of_order is
'Returns the newest project of an order. Prefers projects that are not archived. Returns null if there is none.';

create or replace function public.get_project_for_order(
  p_order_id text, p_language text default null
)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.require('Staff', app.store_of(p_order_id));
  if not exists (
    select from public.orders as orders
    where orders.store = app.store_of(p_order_id) and orders.id = p_order_id
  ) then
    perform app.not_found('order', 'order_id', p_order_id);
  end if;
  v_project := app.project_of_order(p_order_id);
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
'Returns the project of an order, as get_project does, with its selected status.

Returns null if the order has no project.

Role: Staff. Errors: NOT_FOUND, BAD_INPUT (no such store).';
grant execute on function public.get_project_for_order to authenticated;

create or replace function public.create_project_from_order(p_order_id text, p_template_uuid uuid)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_order public.orders;
  v_project public.projects;
begin
  perform app.require('Supervisor', app.store_of(p_order_id));
  v_order := app.lock_order(p_order_id, false); -- so that only one transaction creates the project
  v_project := app.project_of_order(p_order_id);
  if v_project.uuid is not null and not app.is_archived(v_project) then
    return app.describe_project(v_project) || '{"already_done": true}';
  end if;
  if v_order.cancelled_at is not null then
    perform app.fail(
      'CONFLICT', format('Order %s is cancelled, so no project can be created.', p_order_id),
      jsonb_build_object('order_id', p_order_id)
    );
  end if;
  return public.create_project_from_template(
    p_template_uuid, left(concat_ws(' ', v_order.product_title, p_order_id), 255),
    jsonb_build_object('external_id', p_order_id)
  ) || '{"already_done": false}';
end;
$$;
comment on function public.create_project_from_order is
'Creates a project for an order from a template.

The name holds the cake and the order. external_id holds the order id. If the order already has a project that is not archived, a repeat returns it with already_done.

Role: Supervisor. Errors: NOT_FOUND (no such order, no such template), BAD_INPUT (no such store), CONFLICT (the order is cancelled).';
grant execute on function public.create_project_from_order to authenticated;

select app.assert_grants();
commit;
