begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop table if exists private.staff_pay, public.staff_shared;
drop type if exists public.staff_role;
commit;
