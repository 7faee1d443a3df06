-- M0 order keys: size, priority and place in the queue, as values that sort.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.size_rank(p_size text)
returns smallint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return
    case split_part(lower(btrim(p_size)), ' ', 1)
      when 'gift' then 0
      when 's' then 2 when 'small' then 2
      when 'm' then 4 when 'medium' then 4
      when 'l' then 6 when 'large' then 6
      else 8
    end
    + case when lower(p_size) ~ '\mtall\M' then 1 else 0 end;
end;
$$;
comment on function app.size_rank is
'Returns the rank of a size, in the order Gift, Small, Small Tall, Medium, Medium Tall, Large, Large Tall, others.

orders.size_rank stores the result, so a change here needs a rewrite of that column.';

create or replace function app.priority_rank(p_due date, p_today date)
returns smallint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_due - p_today <= 1 then 3 when p_due - p_today <= 3 then 2 else 1 end;
end;
$$;
comment on function app.priority_rank is
'Returns the priority of an order: 3 with at most one day left, 2 with at most three, else 1.

Without a due date the priority is 1. orders.needs_attention then reports the missing date.';

create or replace function app.priority_label(p_rank smallint)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_rank when 1 then 'Low' when 2 then 'Medium' when 3 then 'High' end;
end;
$$;
comment on function app.priority_label is
'Returns the name of a priority: Low, Medium or High. Sort by the number, never by the name.';

create or replace function app.priority_of(p_label text)
returns smallint
language plpgsql immutable strict set search_path = pg_catalog, pg_temp
as $$
declare
  v_rank smallint := (
    select ranks.rank from unnest('{1,2,3}'::smallint[]) as ranks (rank)
    where lower(app.priority_label(ranks.rank)) = lower(btrim(p_label))
  );
begin
  if v_rank is null and btrim(p_label) <> '' then
    perform app.fail('BAD_INPUT', 'Priority must be High, Medium or Low.', '{"field": "priority"}');
  end if;
  return v_rank;
end;
$$;
comment on function app.priority_of is
'Returns the rank of a priority by its label. Returns null for a blank. Raises BAD_INPUT for any other word.';

create or replace function app.day_key(p_day date)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_day is null then '99999999'
    else to_char(least(greatest(p_day, '0001-01-01'), '9999-12-31')::timestamp, 'YYYYMMDD')
  end;
end;
$$;
comment on function app.day_key is 'Returns a date as text that sorts by date. Null sorts last.';

create or replace function app.moment_key(p_moment timestamptz)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(to_char(p_moment at time zone 'UTC', 'YYYYMMDDHH24MISSUS'), '');
end;
$$;
comment on function app.moment_key is
'Returns a time as text that sorts by time. Null sorts first.

orders_complete_idx uses this function, so a change here needs a new build of that index.';

create or replace function app.set_priority()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.priority := coalesce(
    new.priority_override, app.priority_rank(new.due_date, app.today(new.store))
  );
  return new;
end;
$$;
comment on function app.set_priority is
'Trigger: sets the priority of an order to its override, else by its due date.';

create or replace function app.queue_key(
  p_priority smallint, p_due date, p_size text, p_number integer, p_id text
)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return concat_ws(
    ' ', 4 - p_priority, app.day_key(p_due), app.size_rank(p_size),
    lpad(coalesce(p_number, 2147483647)::text, 10, '0'), p_id
  );
end;
$$;
comment on function app.queue_key is
'Returns the place of an order in the queue as text that sorts, from all columns that sort the queue.';

create or replace function app.set_queue_key()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.queue_key := app.queue_key(
    new.priority, new.due_date, new.size, new.shopify_order_number, new.id
  );
  return new;
end;
$$;
comment on function app.set_queue_key is
'Trigger: sets the queue key of an order (app.queue_key).

Runs after orders_set_priority, because triggers run in order of their names.';

select app.assert_grants();
commit;
