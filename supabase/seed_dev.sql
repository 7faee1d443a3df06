-- Dev data: staff of each role, a secret that signs webhooks, an order for tomorrow in each store,
-- something in stock, and, with V101, a project with its template.
--
-- Raises an error unless the database is marked as dev. A second run changes nothing.

begin;

do $$ -- one block: psql goes on after an error, and would report each further statement
declare
  v_env text;
  v_item uuid;
begin
  if to_regprocedure('supabase_migrations.bakehouse_identity()') is not null then
    v_env := supabase_migrations.bakehouse_identity() ->> 'env';
  end if;
  -- the message says all: the Supabase CLI shows no hint
  if v_env is null then
    raise exception 'Dev data goes into dev databases only, and this database is not marked: run `bakehouse env mark dev --database-url URL`, then seed again.';
  elsif v_env <> 'dev' then
    raise exception 'Dev data goes into dev databases only, and this database is %: leave out the seed.', v_env;
  end if;

  set local role bakehouse_owner;

  insert into public.staff_shared (user_id, full_name, role, store, email, approved)
  values
  ('00000000-0000-4000-8000-000000000001', 'Dev Admin', 'Admin', null, 'admin@example.com', true),
  (
    '00000000-0000-4000-8000-000000000002', 'Dev Supervisor', 'Supervisor', null,
    'supervisor@example.com', true
  ),
  (
    '00000000-0000-4000-8000-000000000003', 'Dev Staff Bannos', 'Staff', 'bannos',
    'bannos@example.com', true
  ),
  (
    '00000000-0000-4000-8000-000000000004', 'Dev Staff Flourlane', 'Staff', 'flourlane',
    'flourlane@example.com', true
  )
  on conflict do nothing;

  insert into private.staff_pay (user_id, hourly_rate)
  values
  ('00000000-0000-4000-8000-000000000001', 40),
  ('00000000-0000-4000-8000-000000000002', 35),
  ('00000000-0000-4000-8000-000000000003', 30),
  ('00000000-0000-4000-8000-000000000004', 30)
  on conflict do nothing;

  if app.shop_secret('bannos', 'webhook') is null then
    perform app.store_shop_secret('bannos', 'webhook', 'dev-only-webhook-secret');
  end if;

  insert into public.order_contacts (store, order_gid, customer_name)
  values
  ('bannos', 'bannos-10001', 'Dev Customer'), ('flourlane', 'flourlane-10001', 'Dev Customer')
  on conflict do nothing;

  with made as (
    insert into public.orders (
      store, id, shopify_order_number, human_id, product_title, flavour, size,
      delivery_method, currency, total_amount, due_date
    )
    values
    (
      'bannos', 'bannos-10001', 10001, '#B10001', 'Birthday Cake', 'Vanilla', 'Medium',
      'pickup', 'AUD', 95, app.today('bannos') + 1
    ),
    (
      'flourlane', 'flourlane-10001', 10001, '#F10001', 'Birthday Cake', 'Chocolate', 'Large',
      'delivery', 'AUD', 120, app.today('flourlane') + 1
    )
    on conflict do nothing
    returning store, id, stage
  )
  insert into public.stage_events (store, order_id, stage, event_type)
  select made.store, made.id, made.stage, 'create'
  from made;

  for v_item in
    insert into public.inventory_items (kind, sku, title, category, uom, product_match, min_stock)
    values
    ('component', 'dev-cake-board', 'Cake board', 'packaging', 'each', null, 10),
    ('accessory', 'dev-gold-candle', 'Gold candle', 'candle', 'each', 'gold candle', 5)
    on conflict do nothing
    returning id
  loop
    perform app.move_stock(v_item, 50, 'adjust', 'correction', 'dev data');
  end loop;

  insert into public.site_locations (store, site, location_id)
  values
  ('bannos', 'main', 'gid://shopify/Location/1001'),
  ('flourlane', 'main', 'gid://shopify/Location/2001')
  on conflict do nothing;

  with made as (
    insert into public.boms (product_title) values ('Birthday Cake')
    on conflict do nothing
    returning id
  )
  insert into public.bom_items (bom_id, component_id, quantity_required, stage)
  select made.id, items.id, 1, 'Packing'
  from made
  inner join public.inventory_items as items on items.sku = 'dev-cake-board';

  if to_regclass('public.projects') is null then
    return; -- this database has no V101
  end if;
  if exists (select from public.projects) then
    return; -- there are projects already
  end if;
  insert into public.settings (key, value) values ('entities_enabled', 'true')
  on conflict do nothing;
  insert into public.entities (uuid, name, display_name, display_name_plural, status)
  values
  ('00000000-0000-4000-8000-000000000131', 'cake_stages', 'Cake stage', 'Cake stages', 'published'),
  ('00000000-0000-4000-8000-000000000132', 'old_stages', 'Old stage', 'Old stages', 'trashed');
  insert into public.entity_data (uuid, entity_uuid, title, slug, status, data, position)
  values
  (
    '00000000-0000-4000-8000-000000000133', '00000000-0000-4000-8000-000000000131', 'Planned',
    'planned', 'published', '{"color": "#60a5fa"}', 1
  ),
  (
    '00000000-0000-4000-8000-000000000134', '00000000-0000-4000-8000-000000000131', 'Tasted',
    'tasted', 'published', '{"color": "#34d399"}', 2
  ),
  (
    '00000000-0000-4000-8000-000000000135', '00000000-0000-4000-8000-000000000131', 'Lost',
    'lost', 'trashed', '{}', 3
  );
  insert into public.project_tasks (uuid, title, estimated_duration, estimated_duration_unit)
  values
  ('00000000-0000-4000-8000-000000000101', 'Tasting', 2, 'hours'),
  ('00000000-0000-4000-8000-000000000102', 'Sketch', 1, 'days'),
  ('00000000-0000-4000-8000-000000000103', 'Sugar flowers', 3, 'days'),
  ('00000000-0000-4000-8000-000000000104', 'Photos', null, null);
  insert into public.project_task_dependencies (task_uuid, depends_on_task_uuid)
  values
  ('00000000-0000-4000-8000-000000000102', '00000000-0000-4000-8000-000000000101'),
  ('00000000-0000-4000-8000-000000000103', '00000000-0000-4000-8000-000000000102');
  insert into public.projects (uuid, name, is_template)
  values
  ('00000000-0000-4000-8000-000000000111', 'Wedding cake', true),
  ('00000000-0000-4000-8000-000000000112', 'Wedding of Ana and Ben', false);
  insert into public.project_assignments (uuid, project_uuid, task_uuid, position)
  values
  (
    '00000000-0000-4000-8000-000000000121', '00000000-0000-4000-8000-000000000111',
    '00000000-0000-4000-8000-000000000101', 1
  ),
  (
    '00000000-0000-4000-8000-000000000122', '00000000-0000-4000-8000-000000000112',
    '00000000-0000-4000-8000-000000000101', 1
  ),
  (
    '00000000-0000-4000-8000-000000000123', '00000000-0000-4000-8000-000000000112',
    '00000000-0000-4000-8000-000000000102', 2
  );
  insert into public.project_dependencies (project_uuid, assignment_uuid, depends_on_uuid)
  values
  (
    '00000000-0000-4000-8000-000000000112', '00000000-0000-4000-8000-000000000123',
    '00000000-0000-4000-8000-000000000122'
  );
  if to_regclass('public.project_statuses') is null then
    return;
  end if;
  update public.projects set status_entity_uuid = '00000000-0000-4000-8000-000000000131'
  where projects.uuid in (
    '00000000-0000-4000-8000-000000000111', '00000000-0000-4000-8000-000000000112'
  );
  insert into public.projects (uuid, name, status_entity_uuid)
  values
  (
    '00000000-0000-4000-8000-000000000113', 'Wedding of Cleo and Dan',
    '00000000-0000-4000-8000-000000000131'
  );
  update public.projects set started_at = app.now()
  where projects.uuid = '00000000-0000-4000-8000-000000000113';
end;
$$;

commit;
