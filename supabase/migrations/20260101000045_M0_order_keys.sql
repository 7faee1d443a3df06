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
'Sizes in the order of the bakery: Gift, Small, Small Tall, Medium, Medium Tall, Large, Large Tall, others.

orders.size_rank stores the answer: a change here needs a rewrite of that column.';

create or replace function app.priority_rank(p_due date, p_today date)
returns smallint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_due - p_today <= 1 then 3 when p_due - p_today <= 3 then 2 else 1 end;
end;
$$;
comment on function app.priority_rank is
'How urgent an order is: 3 with at most a day left, 2 with at most three, else 1.

An order without a due date is not urgent but in doubt: it ranks 1, and needs_attention says why.';

create or replace function app.priority_label(p_rank smallint)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_rank when 1 then 'Low' when 2 then 'Medium' when 3 then 'High' end;
end;
$$;
comment on function app.priority_label is
'What people call a priority rank. Sort by the rank, never by this.';

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
comment on function app.day_key is 'A day as text that sorts; no day comes last.';

create or replace function app.moment_key(p_moment timestamptz)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(to_char(p_moment at time zone 'UTC', 'YYYYMMDDHH24MISSUS'), '');
end;
$$;
comment on function app.moment_key is
'A moment as text that sorts; none comes first. An index is built with it.';

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
'Trigger: the priority of an order follows its override, else its due date.';

create or replace function app.set_queue_key()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.queue_key := concat_ws(
    ' ', 4 - new.priority, app.day_key(new.due_date), app.size_rank(new.size),
    lpad(coalesce(new.shopify_order_number, 2147483647)::text, 10, '0'), new.id
  );
  return new;
end;
$$;
comment on function app.set_queue_key is
'Trigger: the place of an order in the queue follows all that the queue is sorted by. It comes after the priority: triggers run by name.';

select app.assert_grants();

commit;
