-- M0 search: find orders by any part of a name, a product or a number.
--
-- Every stage move would also write a trigram index on orders. So the words have a table of their
-- own. Its index is written only when an order arrives, is edited or is no longer open.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.order_words (
  store text not null,
  id text not null,
  is_open boolean not null,
  words text not null,
  primary key (store, id, is_open)
) partition by list (is_open);
create table if not exists app.order_words_open partition of app.order_words for values in (true);
create table if not exists app.order_words_done partition of app.order_words for values in (false);
alter table app.order_words enable row level security;
alter table app.order_words_open enable row level security;
alter table app.order_words_done enable row level security;
comment on table app.order_words is
'The search text of each order, with a partition for open orders. A trigger writes the table, so there is no foreign key.';
comment on table app.order_words_open is 'Partition of order_words: open orders.';
comment on table app.order_words_done is
'Partition of order_words: complete, cancelled, or sold over the counter.';

create or replace function app.search_words(
  p_customer_name text, p_product_title text, p_human_id text, p_id text
)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return lower(concat_ws(
    E'\n', coalesce(p_customer_name, ''), p_product_title, p_human_id, p_id
  ));
end;
$$;
comment on function app.search_words is
'Returns the search text of an order. Each field is a line, so that no match spans two fields. The first line is the name, which the lists sort by.';

create or replace function app.sync_order_words()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op <> 'INSERT' then
    delete from app.order_words as known
    where known.store = old.store and known.id = old.id and known.is_open = old.is_open;
  end if;
  if tg_op <> 'DELETE' then
    insert into app.order_words (store, id, is_open, words)
    values (
      new.store, new.id, new.is_open, app.search_words(
        (
          -- a change of the name waits, and then finds this row
          select contacts.customer_name from public.order_contacts as contacts
          where contacts.store = new.store
          and contacts.order_gid = coalesce(new.shopify_order_gid, new.id)
          for share
        ),
        new.product_title, new.human_id, new.id
      )
    );
  end if;
  return null;
end;
$$;
comment on function app.sync_order_words is
'Trigger: copies the search text of an order (app.search_words) to order_words. The contact of an order is written before the order.';

create or replace function app.rename_order_words()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  update app.order_words as known
  set words = app.search_words(
    case when tg_op = 'UPDATE' then new.customer_name end, orders.product_title, orders.human_id,
    orders.id
  )
  from public.orders as orders
  where orders.store = old.store
  and orders.id = any(app.units_of(old.store, old.order_gid))
  and known.store = orders.store and known.id = orders.id;
  return null;
end;
$$;
comment on function app.rename_order_words is
'Trigger: changes the search text of all cakes of an order, after the name of its customer was changed or deleted.';

create or replace function app.audit_order_words()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(orders.store, known.store),
    format('order %s is missing or outdated in order_words', coalesce(orders.id, known.id))
  from public.orders as orders
  full join app.order_words as known
    on known.store = orders.store and known.id = orders.id and known.is_open = orders.is_open
  left join public.order_contacts as contacts
    on contacts.store = orders.store
    and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
  where known.words is distinct from app.search_words(
    contacts.customer_name, orders.product_title, orders.human_id, orders.id
  );
$$;
comment on function app.audit_order_words is
'Invariant: each order is once in order_words, with its search text.';

create or replace function app.search_pattern(p_search text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_search text := ltrim(lower(btrim(left(p_search, 201))), '#');
begin
  perform app.check_length('p_search', p_search, 200);
  return '%' || regexp_replace(nullif(v_search, ''), '([\\%_])', '\\\1', 'g') || '%';
end;
$$;
comment on function app.search_pattern is
'Returns a LIKE pattern that finds the search text anywhere in order_words. Special characters are plain text.

A leading # is ignored. Returns null for an empty search. Raises BAD_INPUT for more than 200 characters.';

create or replace function app.search_order_ids(p_pattern text, p_is_open boolean, p_most integer)
returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
  v_ids text[];
begin
  v_ids := array(
    select known.id from app.order_words as known
    where known.is_open = p_is_open and known.words like p_pattern
    limit p_most + 1
  );
  return case when cardinality(v_ids) <= p_most then v_ids end;
end;
$$;
comment on function app.search_order_ids is
'Returns the ids of the orders that match a pattern: open orders, or with p_is_open false all others.

Returns null for more than p_most matches. The caller then scans its list in order, which soon finds enough matches. Each pattern gets its own plan, because the trigram index helps only rare patterns.';

create or replace trigger orders_words after insert or delete on public.orders
for each row execute function app.sync_order_words();
create or replace trigger orders_words_change
after update on public.orders
for each row
when (
  (old.is_open, old.product_title, old.human_id)
  is distinct from (new.is_open, new.product_title, new.human_id)
)
execute function app.sync_order_words();
create or replace trigger order_contacts_words after delete on public.order_contacts
for each row execute function app.rename_order_words();
create or replace trigger order_contacts_words_change
after update of customer_name on public.order_contacts
for each row when (old.customer_name is distinct from new.customer_name)
execute function app.rename_order_words();

-- Copy existing orders. No write comes between, because create trigger has locked the table.
insert into app.order_words (store, id, is_open, words)
select
  orders.store,
  orders.id,
  orders.is_open,
  app.search_words(
    contacts.customer_name, orders.product_title, orders.human_id, orders.id
  ) as words
from public.orders as orders
left join public.order_contacts as contacts
  on
    orders.store = contacts.store
    and contacts.order_gid = coalesce(orders.shopify_order_gid, orders.id)
where not exists (select from app.order_words);
create index if not exists order_words_words_idx -- built after the inserts: four times as fast
on app.order_words using gin (words extensions.gin_trgm_ops) with (fastupdate = off);

select app.register_invariant('order_words', 'audit_order_words');

select app.assert_grants();
commit;
