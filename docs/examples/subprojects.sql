-- Chapter 7: Projects within projects

-- create_subproject as Supervisor
select public.create_subproject(
  '00000000-0000-4000-8000-000000000112', 'Flowers', '{"translations": {"es": {"name": "Flores"}}}'
);

-- link_subproject as Supervisor
select public.link_subproject(
  '00000000-0000-4000-8000-000000000112', '00000000-0000-4000-8000-000000000113'
);

-- detach_subproject as Supervisor
select public.detach_subproject((
  public.create_subproject('00000000-0000-4000-8000-000000000112', 'Flowers') ->> 'row_uuid'
)::uuid);

-- available_projects_to_link as Staff
select public.available_projects_to_link('00000000-0000-4000-8000-000000000112');

-- project_tree as Staff
select public.project_tree('00000000-0000-4000-8000-000000000112', 'es');

-- project_breadcrumbs as Staff
select public.project_breadcrumbs('00000000-0000-4000-8000-000000000112');
