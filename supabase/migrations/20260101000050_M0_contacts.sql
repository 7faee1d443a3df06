-- M0 contacts: what identifies a customer, in one table.
--
-- Orders, events, the ledger, jobs and messages name an order and never a person. So one DELETE
-- here forgets a customer. Notes and cake writing stay with the cake: the kitchen needs them.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.order_contacts (
  store text not null references public.stores (code),
  order_gid app.code not null,
  customer_id bigint,
  customer_name app.person,
  email app.contact,
  phone app.contact,
  gift_sender app.person,
  address jsonb,
  payload jsonb,
  primary key (store, order_gid)
);
alter table public.order_contacts enable row level security;
comment on table public.order_contacts is
'The customer of each order: one row per Shopify order or manual order, for any number of cakes. API roles may read the name only.';
comment on column public.order_contacts.order_gid is
'The gid of a Shopify order, or the id of a manual order.';
comment on column public.order_contacts.customer_id is 'The id of the customer in Shopify.';
comment on column public.order_contacts.customer_name is
'The name on the label. Staff may change the name, and Shopify then no longer does.';
comment on column public.order_contacts.gift_sender is 'The sender of a gift, as the shop asked for it.';
comment on column public.order_contacts.address is 'The shipping address, as Shopify sent it.';
comment on column public.order_contacts.payload is
'The order as Shopify last sent it. The next update is compared with this payload.';
grant select (store, order_gid, customer_name) on table public.order_contacts to authenticated;

create or replace function public.customer_name(p_order public.orders)
returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select contacts.customer_name
  from public.order_contacts as contacts
  where contacts.store = p_order.store
  and contacts.order_gid = coalesce(p_order.shopify_order_gid, p_order.id);
$$;
comment on function public.customer_name is
'Returns the name of the customer of an order, if the caller may read the order. The API reads it like a column of orders: select=*,customer_name.';
grant execute on function public.customer_name to authenticated;

do $$
begin
  if not exists (
    select from pg_policies where policyname = 'order_contacts_select_authenticated'
  ) then
    create policy order_contacts_select_authenticated on public.order_contacts
    for select to authenticated
    using ((select app.is_staff()) and store = any ((select app.my_stores())::text[]));
  end if;
end;
$$;

select app.assert_grants();
commit;
