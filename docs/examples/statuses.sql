-- Chapter 6: Project statuses

-- statuses_available as Staff
select public.statuses_available();

-- default_entity_base as Staff
select public.default_entity_base();

-- default_statuses as Staff
select * from public.default_statuses();

-- per_project_entity_name as Staff
select public.per_project_entity_name('00000000-0000-4000-8000-000000000112');

-- create_default_status_entity as Supervisor
select public.create_default_status_entity();

-- ensure_project_status_entity as Supervisor
select public.ensure_project_status_entity('00000000-0000-4000-8000-000000000112');

-- list_catalog_statuses as Staff
select * from public.list_catalog_statuses('00000000-0000-4000-8000-000000000131', 'es');

-- shared_catalog_statuses as Admin
select public.set_default_status_entity('00000000-0000-4000-8000-000000000131');
select * from public.shared_catalog_statuses();

-- list_status_source_entities as Staff
select * from public.list_status_source_entities();

-- reverse_reference_count as Staff
select * from public.reverse_reference_count('00000000-0000-4000-8000-000000000131');

-- global_default_status_entity_uuid as Staff
select public.global_default_status_entity_uuid();

-- set_default_status_entity as Admin
select public.set_default_status_entity('00000000-0000-4000-8000-000000000131');

-- resolve_catalog_entity_uuid as Staff
select public.resolve_catalog_entity_uuid('00000000-0000-4000-8000-000000000112');

-- update_project_with_statuses as Supervisor
select public.update_project_with_statuses(
  '00000000-0000-4000-8000-000000000112',
  '{
    "status_entity_uuid": "00000000-0000-4000-8000-000000000131",
    "external_id": "bannos-10001",
    "settings": {"use_status_translations": false}
  }'
);

-- set_status_entity as Supervisor
select public.set_status_entity(
  '00000000-0000-4000-8000-000000000113', '00000000-0000-4000-8000-000000000131'
);

-- cement_project_statuses as Supervisor
select public.cement_project_statuses('00000000-0000-4000-8000-000000000113');

-- recement_project_statuses as Supervisor
select public.recement_project_statuses('00000000-0000-4000-8000-000000000113');

-- project_started as Staff
select public.project_started('00000000-0000-4000-8000-000000000113');

-- statuses_for as Staff
select * from public.statuses_for('00000000-0000-4000-8000-000000000112');

-- current_status as Staff
select public.set_current_status('00000000-0000-4000-8000-000000000112', 'tasted');
select * from public.current_status('00000000-0000-4000-8000-000000000112', 'es');

-- list_project_statuses as Staff
select * from public.list_project_statuses('00000000-0000-4000-8000-000000000113');

-- get_project_status as Staff
select found.*
from public.list_project_statuses('00000000-0000-4000-8000-000000000113') as listed
cross join public.get_project_status(
  '00000000-0000-4000-8000-000000000113', listed.uuid
) as found;

-- statuses_for_projects as Staff
select * from public.statuses_for_projects(array[
  '00000000-0000-4000-8000-000000000112',
  '00000000-0000-4000-8000-000000000113'
]::uuid[]);

-- selected_statuses as Staff
select public.set_current_status('00000000-0000-4000-8000-000000000113', 'planned');
select * from public.selected_statuses();

-- set_current_status as Staff
select public.set_current_status('00000000-0000-4000-8000-000000000113', 'planned');

-- add_project_status as Supervisor
select public.add_project_status(
  '00000000-0000-4000-8000-000000000113', 'Sugar flowers', '{"data": {"color": "#f472b6"}}'
);

-- update_project_status_row as Supervisor
select public.update_project_status_row(listed.uuid, '{"label": "Booked"}')
from public.list_project_statuses('00000000-0000-4000-8000-000000000113') as listed
where listed.slug = 'planned';

-- remove_project_status as Supervisor
select public.remove_project_status(listed.uuid)
from public.list_project_statuses('00000000-0000-4000-8000-000000000113') as listed
where listed.slug = 'tasted';

-- global_use_status_translations as Staff
select public.global_use_status_translations();

-- use_status_translations as Staff
select public.use_status_translations('00000000-0000-4000-8000-000000000113');

-- set_use_status_translations as Supervisor
select public.set_use_status_translations('00000000-0000-4000-8000-000000000113', false);

-- set_global_use_status_translations as Admin
select public.set_global_use_status_translations(false);

-- get_project_for_order as Staff
select public.get_project_for_order('bannos-10001');

-- create_project_from_order as Supervisor
select public.create_project_from_order(
  'bannos-10001', '00000000-0000-4000-8000-000000000111'
);
