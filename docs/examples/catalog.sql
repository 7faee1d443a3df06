-- Chapter 4: The catalog: lists, records and library tasks

-- list_entities as Staff
select public.list_entities(p_language => 'es');

-- create_entity as Supervisor
select public.create_entity(
  'delivery_stages', 'Delivery stage', '{"display_name_plural": "Delivery stages"}'
);

-- update_entity as Supervisor
select public.update_entity(
  '00000000-0000-4000-8000-000000000131', '{"display_name": "Stage of a cake"}'
);

-- reorder_entities as Supervisor
select public.reorder_entities(array[
  '00000000-0000-4000-8000-000000000132',
  '00000000-0000-4000-8000-000000000131'
]::uuid[]);

-- trash_entity as Admin
select public.trash_entity('00000000-0000-4000-8000-000000000131');

-- restore_entity as Admin
select public.restore_entity('00000000-0000-4000-8000-000000000132');

-- delete_entity as Admin
select public.delete_entity('00000000-0000-4000-8000-000000000132');

-- list_entity_data as Staff
select public.list_entity_data('00000000-0000-4000-8000-000000000131', 'published');

-- create_entity_data as Supervisor
select public.create_entity_data(
  '00000000-0000-4000-8000-000000000131', 'On the road',
  '{"data": {"color": "#f59e0b"}, "translations": {"es": {"title": "En camino"}}}'
);

-- update_entity_data as Supervisor
select public.update_entity_data(
  '00000000-0000-4000-8000-000000000134', '{"title": "Tasting done"}'
);

-- reorder_entity_data as Supervisor
select public.reorder_entity_data(
  '00000000-0000-4000-8000-000000000131', array[
    '00000000-0000-4000-8000-000000000134',
    '00000000-0000-4000-8000-000000000133'
  ]::uuid[]
);

-- trash_entity_data as Admin
select public.trash_entity_data('00000000-0000-4000-8000-000000000134');

-- restore_entity_data as Admin
select public.restore_entity_data('00000000-0000-4000-8000-000000000135');

-- list_tasks as Staff
select public.list_tasks();

-- create_task as Supervisor
select public.create_task(
  'Delivery', '{"estimated_duration": 90, "estimated_duration_unit": "minutes"}'
);

-- update_task as Supervisor
select public.update_task(
  '00000000-0000-4000-8000-000000000101', '{"description": "Three flavours"}'
);

-- archive_task as Supervisor
select public.archive_task('00000000-0000-4000-8000-000000000103');

-- unarchive_task as Supervisor
select public.archive_task('00000000-0000-4000-8000-000000000103');
select public.unarchive_task('00000000-0000-4000-8000-000000000103');

-- delete_task as Admin
select public.delete_task('00000000-0000-4000-8000-000000000104');

-- reorder_tasks as Supervisor
select public.reorder_tasks(array[
  '00000000-0000-4000-8000-000000000104',
  '00000000-0000-4000-8000-000000000103'
]::uuid[]);

-- reorder_tasks_by as Supervisor
select public.reorder_tasks_by('name_asc');

-- add_task_dependency as Supervisor
select public.add_task_dependency(
  '00000000-0000-4000-8000-000000000104', '00000000-0000-4000-8000-000000000103'
);

-- remove_task_dependency as Supervisor
select public.remove_task_dependency(
  '00000000-0000-4000-8000-000000000103', '00000000-0000-4000-8000-000000000102'
);
