begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.upsert_staff_member, public.update_staff_member, public.get_staff_list, public.get_staff_me,
public.get_staff_member, app.save_staff, app.check_staff_fields, app.staff_facts;
commit;
