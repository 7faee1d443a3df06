-- M0 staff: the members of staff, and their pay.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('public.staff_role') is null then
    create type public.staff_role as enum ('Staff', 'Supervisor', 'Admin');
  end if;
end;
$$;
comment on type public.staff_role is
'The roles of staff, in ascending order, so that roles can be compared.';

create table if not exists public.staff_shared (
  user_id uuid primary key,
  full_name app.person not null check (full_name <> ''),
  role public.staff_role not null default 'Staff',
  store text references public.stores (code),
  phone app.contact,
  email app.contact,
  is_active boolean not null default true,
  approved boolean not null default false,
  last_login timestamptz,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists staff_shared_email_key on public.staff_shared (lower(email));
create index if not exists staff_shared_store_idx on public.staff_shared (store);
alter table public.staff_shared enable row level security;
comment on table public.staff_shared is
'Staff of all stores. Only active and approved staff have any rights.';
comment on column public.staff_shared.user_id is
'The account in auth.users. No foreign key, so that the person, their events and hours outlive a deleted account.';
comment on column public.staff_shared.store is
'The store where the person works. Null: all stores.';
comment on column public.staff_shared.approved is
'True after an Admin approved the account. Signing up alone gives no rights.';
grant select on table public.staff_shared to authenticated;

create table if not exists private.staff_pay (
  user_id uuid primary key references public.staff_shared (user_id) on delete cascade,
  hourly_rate numeric(10, 2) not null check (hourly_rate >= 0),
  updated_at timestamptz not null default app.now()
);
alter table private.staff_pay enable row level security;
comment on table private.staff_pay is
'The hourly pay of staff. A separate table, because a row policy cannot hide a column of staff_shared.';

create or replace trigger staff_shared_set_updated_at before update on public.staff_shared
for each row execute function app.set_updated_at();
create or replace trigger staff_pay_set_updated_at before update on private.staff_pay
for each row execute function app.set_updated_at();

select app.assert_grants();
commit;
