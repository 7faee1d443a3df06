-- Chapter 12: Staff

-- get_staff_me as Staff
select me.full_name, me.role, me.store from public.get_staff_me() as me;

-- get_staff_member as Supervisor
select member.full_name, member.role
from public.get_staff_member('00000000-0000-4000-8000-000000000003') as member;

-- get_staff_list as Supervisor
select staff.full_name, staff.store from public.get_staff_list(p_role => 'Staff') as staff;

-- update_staff_member as Admin
select public.update_staff_member(
  '00000000-0000-4000-8000-000000000003', p_role => 'Supervisor', p_hourly_rate => 36.50
);

-- upsert_staff_member as Admin
select public.upsert_staff_member(
  '00000000-0000-4000-8000-0000000000a5', 'New Baker', p_store => 'bannos',
  p_email => 'new@example.com'
);
