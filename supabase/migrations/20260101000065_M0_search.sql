-- M0 search: find orders by any part of a name, a product or a number.
--
-- The words stand apart from orders, because a stage move writes a new version of the row. A
-- trigram index on orders would be written at every move. This one is written when an order
-- arrives, is edited, and is done.

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
create table if not exists app.order_words_open
partition of app.order_words for values in (true);
create table if not exists app.order_words_done
partition of app.order_words for values in (false);
alter table app.order_words enable row level security;
alter table app.order_words_open enable row level security;
alter table app.order_words_done enable row level security;
comment on table app.order_words is
'What an order is searched by; those in work apart from all others. A trigger keeps it, without a foreign key.';
comment on table app.order_words_open is 'Partition of order_words: orders in work.';
comment on table app.order_words_done is
'Partition of order_words: complete, cancelled, or over the counter.';

create or replace function app.sync_order_words()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_words text := lower(concat_ws(
    E'\n', new.customer_name, new.product_title, new.human_id, new.id
  ));
begin
  if tg_op <> 'INSERT' then
    delete from app.order_words as known
    where known.store = old.store and known.id = old.id and known.is_open = old.is_open;
  end if;
  if tg_op <> 'DELETE' then
    insert into app.order_words (store, id, is_open, words)
    values (new.store, new.id, new.is_open, v_words);
  end if;
  return null;
end;
$$;
comment on function app.sync_order_words is
'Trigger: order_words follows orders. A line each, so that nothing is found across two of them.';

create or replace function app.search_pattern(p_search text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_search text := ltrim(lower(btrim(p_search)), '#');
begin
  return '%' || regexp_replace(nullif(v_search, ''), '([\\%_])', '\\\1', 'g') || '%';
end;
$$;
comment on function app.search_pattern is
'For LIKE on order_words: contains this, whatever letters it is made of. A docket''s # does not count; null when nothing is left.';

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
'The orders that a pattern fits, of those in work or of the others. Null when they are more than so many: then read the list in its order, and it will not take long to find enough.

Planned for the pattern at hand: the trigram index is for rare ones.';

create or replace trigger orders_words
after insert or delete on public.orders
for each row execute function app.sync_order_words();
create or replace trigger orders_words_change
after update on public.orders
for each row
when (
  (old.is_open, old.customer_name, old.product_title, old.human_id)
  is distinct from (new.is_open, new.customer_name, new.product_title, new.human_id)
)
execute function app.sync_order_words();

-- what was there before: nobody writes orders until the triggers are committed
insert into app.order_words (store, id, is_open, words)
select
  orders.store,
  orders.id,
  orders.is_open,
  lower(
    concat_ws(E'\n', orders.customer_name, orders.product_title, orders.human_id, orders.id)
  ) as words
from public.orders as orders
where not exists (select from app.order_words);
create index if not exists order_words_words_idx -- after the rows: four times as fast
on app.order_words using gin (words extensions.gin_trgm_ops) with (fastupdate = off);

select app.assert_grants();

commit;
