-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_staff_me(), public.get_staff_member(uuid), public.get_staff_list(text, boolean),
public.update_staff_member(uuid, text, text, numeric, boolean, boolean, text),
public.upsert_staff_member(uuid, text, text, text, text, text, boolean),
app.save_staff(uuid, boolean, text, text, text, text, text, boolean, boolean, numeric),
app.staff_facts(uuid);

commit;
