-- Add a store for the walk, with staff, and an order that no caller may change.
insert into public.stores (code, name, scan_letter, shop_domain, time_zone, currency)
select
  'smoke' as code,
  'Smoke walk' as name,
  min(letter) as scan_letter,
  'smoke.invalid' as shop_domain,
  'UTC' as time_zone,
  'AUD' as currency
from regexp_split_to_table('ZYXWVUTSRQPONMLKJIHGFEDCBA', '') as letter
where letter not in (select s.scan_letter from public.stores as s);
insert into public.staff_shared (user_id, full_name, role, store, is_active, approved)
values
('00000000-0000-4000-8000-00000000f001', 'Smoke walk', 'Staff', 'smoke', true, true),
('00000000-0000-4000-8000-00000000f002', 'Smoke walk', 'Supervisor', 'smoke', true, true),
('00000000-0000-4000-8000-00000000f003', 'Smoke walk', 'Admin', 'smoke', true, true);
insert into public.orders (store, id, cancelled_at) values ('smoke', 'smoke-0', now());
insert into public.stage_events (store, order_id, stage, event_type)
values ('smoke', 'smoke-0', 'Filling', 'create');
do $$ -- ends a pause of webhooks
begin
  if to_regclass('app.ingest_pause') is not null then
    delete from app.ingest_pause where only_row;
  end if;
end;
$$;
