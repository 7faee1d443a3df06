"""A bakery full of orders, for the benches of the order workflow.

Both stores have orders, and one order in ten has two cakes. Forty people work there.
The newest orders are open.
"""

from bakehouse.database import Connection
from bench_server import PROJECT

MIGRATIONS = PROJECT / "supabase" / "migrations"
DOWN = PROJECT / "supabase" / "down"
FOLLOWERS = sorted(MIGRATIONS.glob("*_M0_tally.sql")) + sorted(MIGRATIONS.glob("*_M0_search.sql"))


def load(conn: Connection, total: int, open_: int) -> None:
    """Fills an empty, autocommitting database with orders. The newest `open_` orders are open."""
    conn.execute("set statement_timeout = 0; set maintenance_work_mem = '512MB'")
    conn.execute(STAFF)
    for path in reversed(FOLLOWERS):  # one trigger call per row would be too slow
        conn.execute((DOWN / path.name).read_bytes())
    conn.execute(HEADERS, {"total": total})
    conn.execute(ORDERS, {"total": total, "open": open_})
    for path in FOLLOWERS:
        conn.execute(path.read_bytes())
    conn.execute(
        "vacuum analyze public.orders, public.shopify_orders, public.order_contacts, "
        "app.order_words"
    )


STAFF = """
insert into public.staff_shared (user_id, full_name, store, approved)
select
  format('00000000-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid, 'Bench Staff ' || n,
  (array['bannos', 'flourlane'])[mod(n, 2) + 1], true
from generate_series(0, 39) as n
"""

HEADERS = """
with headers as (
  insert into public.shopify_orders (store, gid, remote_updated_at)
  select
    (array['bannos', 'flourlane'])[mod(n, 2) + 1],
    'gid://shopify/Order/' || 5000100000 + n / 2,
    now()
  from generate_series(1, %(total)s) as n
  where mod(n / 2, 20) <> 19
)
insert into public.order_contacts (store, order_gid, customer_name, address, payload)
select
  (array['bannos', 'flourlane'])[mod(cake.n, 2) + 1],
  'gid://shopify/Order/' || 5000100000 + cake.n / 2,
  (array[
    'Ava', 'Ben', 'Chloe', 'Dan', 'Ella', 'Finn', 'Grace', 'Hugo', 'Isla', 'Jack', 'Kate', 'Liam',
    'Mia', 'Noah', 'Olive', 'Paul', 'Quinn', 'Ruby', 'Sam', 'Tess'
  ])[mod(cake.a, 20) + 1] || ' ' || (array[
    'Ash', 'Bel', 'Car', 'Dun', 'Ever', 'Fair', 'Grim', 'Hol', 'Iver', 'Kings'
  ])[mod(cake.b, 10) + 1] || (array[
    'bury', 'by', 'cott', 'den', 'field', 'ford', 'ham', 'ley', 'more', 'ton'
  ])[mod(cake.c, 10) + 1],
  jsonb_build_object(
    'name', 'Bench Customer', 'address1', cake.n || ' Bench Street', 'city', 'Sydney',
    'zip', '2000', 'province_code', 'NSW', 'country_code', 'AU', 'phone', '0400 000 000'
  ),
  jsonb_build_object('id', 5000100000 + cake.n / 2)
from (
  select
    n, hashint4(n) & 65535 as a, hashint4(n + 1000000000) & 65535 as b,
    hashint4(n + 2000000000) & 65535 as c
  from generate_series(1, %(total)s) as n
  where mod(n / 2, 20) <> 19
) as cake
"""

# a fixed seed gives the same orders in every run
ORDERS = """
insert into public.orders (
  store, id, shopify_order_id, shopify_order_gid, shopify_order_number, suffix, human_id,
  product_title, flavour, size, notes, delivery_method, currency, total_amount, order_json, stage,
  due_date, assignee_id, storage, is_pos, cancelled_at, filling_start_ts,
  filling_complete_ts, covering_complete_ts, decorating_complete_ts, packing_start_ts,
  packing_complete_ts, created_at, updated_at
)
select
  cake.store, concat_ws('-', cake.store, cake.number, cake.suffix), 5000000000 + cake.number,
  'gid://shopify/Order/' || 5000000000 + cake.number, cake.number, cake.suffix,
  concat_ws('-', upper(left(cake.store, 1)) || cake.number, cake.suffix),
  (array[
    'Birthday', 'Drip', 'Number', 'Wedding', 'Naked', 'Letter', 'Heart', 'Mini'
  ])[mod(cake.d, 8) + 1] || (array[
    ' Gelato', ' Mud', ' Sponge', ' Velvet', ''
  ])[mod(cake.a, 5) + 1] || ' Cake',
  (array['Vanilla', 'Choc', 'Mango', 'Lemon', 'Hazelnut', 'Berry'])[mod(cake.b, 6) + 1],
  (array[
    'Gift Size', 'Small Tall', 'Medium', 'Medium Tall', 'Large', 'Large Tall'
  ])[mod(cake.c, 6) + 1],
  case when mod(cake.d, 4) = 0 then 'Leave it at the side door, please, and ring the bell.' end,
  (array['pickup', 'delivery'])[mod(cake.a, 2) + 1], 'AUD', 60 + mod(cake.b, 120),
  jsonb_build_object(
    'line_id', cake.number, 'title', 'Birthday Cake', 'quantity', 1, 'price', 95, 'kind', 'cake',
    'variant_title', 'Medium / Vanilla', 'product_id', cake.a, 'variant_id', cake.b
  ),
  cake.stage::public.stage_type, cake.day::date + mod(cake.c, 22) - 2,
  case when cake.stage = 'Complete' or mod(cake.d, 2) = 0 then format(
    '00000000-0000-4000-9000-%%s', lpad((mod(cake.b, 20) * 2 + mod(cake.n, 2))::text, 12, '0')
  )::uuid end,
  case when cake.stage in ('Packing', 'Complete') and mod(cake.c, 4) > 0 then (array[
    'Store Fridge', 'Store Freezer', 'Kitchen Coolroom', 'Kitchen Freezer', 'Basement Coolroom'
  ])[mod(cake.b, 5) + 1] end,
  mod(cake.a, 100) = 0 and cake.stage = 'Complete',
  case when mod(cake.b, 100) = 0 and cake.stage = 'Complete' then cake.day + interval '1 hour' end,
  case when cake.stage <> 'Filling' then cake.day + interval '1 day' end,
  case when cake.stage <> 'Filling' then cake.day + interval '26 hours' end,
  case when cake.stage not in ('Filling', 'Covering') then cake.day + interval '28 hours' end,
  case when cake.stage in ('Packing', 'Complete') then cake.day + interval '31 hours' end,
  case when cake.stage in ('Packing', 'Complete') then cake.day + interval '31 hours' end,
  case when cake.stage = 'Complete' then cake.day + interval '33 hours' end,
  cake.day, cake.day
from (
  select
    n, dice.a, dice.b, dice.c, dice.d,
    (array['bannos', 'flourlane'])[mod(n, 2) + 1] as store,
    100000 + case when mod(n / 2, 20) = 19 then n / 2 - 1 else n / 2 end as number,
    case mod(n / 2, 20) when 18 then 'A' when 19 then 'B' end as suffix,
    case
      when n <= %(total)s - %(open)s then 'Complete'
      else (array['Filling', 'Filling', 'Covering', 'Decorating', 'Packing'])[mod(dice.d, 5) + 1]
    end as stage,
    now() - case
      when n > %(total)s - %(open)s then interval '3 days' / %(open)s * (%(total)s - n)
      else interval '3 days' + interval '1 minute' * (%(total)s - %(open)s - n)
    end as day
  from
    generate_series(1, %(total)s) as n,
    lateral (
      select
        hashint4(n) & 65535 as a, hashint4(n + 1000000000) & 65535 as b,
        hashint4(n + 2000000000) & 65535 as c, hashint4(-n) & 65535 as d
    ) as dice
) as cake
"""
