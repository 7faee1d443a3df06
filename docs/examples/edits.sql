-- Chapter 3: Assigning and editing orders

-- assign_staff as Supervisor
select public.assign_staff(
  'bannos-10001', 'bannos', '00000000-0000-4000-8000-000000000003', 'Asked for this one'
);

-- unassign_staff as Supervisor
select public.assign_staff(
  'bannos-10001', p_staff_id => '00000000-0000-4000-8000-000000000003'
);
select public.unassign_staff('bannos-10001');

-- assign_staff_bulk as Supervisor
select public.assign_staff_bulk(
  array['bannos-10001', 'flourlane-10001'],
  p_staff_id => '00000000-0000-4000-8000-000000000001'
);

-- bulk_assign as Supervisor
select public.bulk_assign(
  'bannos', array['bannos-10001'], '00000000-0000-4000-8000-000000000003'
);

-- set_storage as Staff
select public.set_storage('bannos', 'bannos-10001', 'Kitchen Coolroom');

-- update_order_notes as Supervisor
select public.update_order_notes('bannos-10001', p_notes => 'No nuts');

-- update_order_priority as Supervisor
select public.update_order_priority('bannos-10001', p_priority => 'High');

-- update_order_due_date as Supervisor
select public.update_order_due_date('bannos-10001', p_due_date => '2026-12-24');

-- update_order_core as Supervisor
select public.update_order_core(
  'bannos-10001', p_size => 'Large', p_cake_writing => 'Happy 40th', p_clear => '{notes, storage}'
);

-- create_manual_order as Supervisor
select public.create_manual_order(
  'bannos', 'B55555', 'Test Customer', 'Birthday Cake', p_size => 'Medium', p_flavour => 'Vanilla',
  p_due_date => '2026-12-24', p_writing_on_cake => 'Happy 40th'
);

-- resettle_order as Admin
select public.resettle_order('bannos-10001') -> 'taken';

-- cancel_order as Admin
select public.cancel_order('bannos-10001', p_reason => 'The customer rang');

-- set_order_site as Admin
select public.upsert_site('kitchen', 'Central kitchen');
select public.save_store_sites('bannos', '[
  {"site": "main"}, {"site": "kitchen", "delivery_method": "delivery"}
]');
select public.set_order_site('bannos-10001', 'kitchen');
