-- Chapter 5: Projects

-- create_project as Supervisor
select public.create_project(
  'Wedding of Cleo and Dan',
  '{"start_mode": "scheduled", "scheduled_start_date": "2030-05-06T09:00+10:00"}'
);

-- update_project as Supervisor
select public.update_project(
  '00000000-0000-4000-8000-000000000112', '{"description": "Three tiers"}'
);

-- start_project as Supervisor
select public.start_project('00000000-0000-4000-8000-000000000112');

-- archive_project as Supervisor
select public.archive_project('00000000-0000-4000-8000-000000000112');

-- unarchive_project as Supervisor
select public.archive_project('00000000-0000-4000-8000-000000000112');
select public.unarchive_project('00000000-0000-4000-8000-000000000112');

-- delete_project as Admin
select public.delete_project('00000000-0000-4000-8000-000000000112');

-- get_project as Staff
select public.get_project('00000000-0000-4000-8000-000000000112');

-- list_projects as Staff
select public.list_projects(p_search => 'ana', p_sort => 'name', p_limit => 20);

-- count_projects as Staff
select public.count_projects(p_archived => 'all');

-- project_buckets as Staff
select public.project_buckets();

-- reorder_projects as Supervisor
select public.reorder_projects(array[
  '00000000-0000-4000-8000-000000000112'
]::uuid[]);

-- reorder_projects_by as Supervisor
select public.reorder_projects_by('name_asc');

-- create_project_from_template as Supervisor
select public.create_project_from_template(
  '00000000-0000-4000-8000-000000000111', 'Wedding of Cleo and Dan'
);

-- list_assignments as Staff
select public.list_assignments('00000000-0000-4000-8000-000000000112');

-- create_assignment as Supervisor
select public.create_assignment(
  '00000000-0000-4000-8000-000000000112', '00000000-0000-4000-8000-000000000104'
);

-- create_assignment_from_task as Supervisor
select public.create_assignment_from_task(
  '00000000-0000-4000-8000-000000000112', '00000000-0000-4000-8000-000000000103',
  '{"description": "Peonies, white"}'
);

-- create_assignment_with_closure as Supervisor
select public.create_assignment_with_closure(
  '00000000-0000-4000-8000-000000000111', '00000000-0000-4000-8000-000000000103'
);

-- update_assignment as Supervisor
select public.update_assignment(
  '00000000-0000-4000-8000-000000000123', '{"track_progress": true}'
);

-- start_assignment as Staff
select public.start_assignment('00000000-0000-4000-8000-000000000122');

-- set_assignment_progress as Staff
select public.set_assignment_progress('00000000-0000-4000-8000-000000000123', 40);

-- complete_assignment as Staff
select public.complete_assignment('00000000-0000-4000-8000-000000000122');

-- reopen_assignment as Staff
select public.complete_assignment('00000000-0000-4000-8000-000000000122');
select public.reopen_assignment('00000000-0000-4000-8000-000000000122');

-- delete_assignment as Supervisor
select public.delete_assignment('00000000-0000-4000-8000-000000000123');

-- move_assignment as Supervisor
select public.move_assignment(
  '00000000-0000-4000-8000-000000000123', '00000000-0000-4000-8000-000000000122'
);

-- reorder_assignments as Supervisor
select public.reorder_assignments(
  '00000000-0000-4000-8000-000000000112', array[
    '00000000-0000-4000-8000-000000000123',
    '00000000-0000-4000-8000-000000000122'
  ]::uuid[]
);

-- reorder_assignments_by as Supervisor
select public.reorder_assignments_by('00000000-0000-4000-8000-000000000112', 'reverse');

-- add_dependency as Supervisor
select public.remove_dependency(
  '00000000-0000-4000-8000-000000000123', '00000000-0000-4000-8000-000000000122'
);
select public.add_dependency(
  '00000000-0000-4000-8000-000000000122', '00000000-0000-4000-8000-000000000123'
);

-- remove_dependency as Supervisor
select public.remove_dependency(
  '00000000-0000-4000-8000-000000000123', '00000000-0000-4000-8000-000000000122'
);

-- apply_template_dependencies as Supervisor
select public.remove_dependency(
  '00000000-0000-4000-8000-000000000123', '00000000-0000-4000-8000-000000000122'
);
select public.apply_template_dependencies('00000000-0000-4000-8000-000000000123');

-- end_of_work as Staff
select public.end_of_work('2026-01-09 12:00Z', 8);

-- get_project_schedule as Staff
select public.get_project_schedule('00000000-0000-4000-8000-000000000112');
