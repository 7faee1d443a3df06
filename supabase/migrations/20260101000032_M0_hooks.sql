-- M0 hooks: a table of functions that an event calls.
--
-- Each file registers its own functions, so no file names a function of a later file.
-- For example, M2 changes the stock of M3 only through app.hooks.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.hooks (
  event text not null,
  position integer not null,
  function text not null,
  primary key (event, position)
);
alter table app.hooks enable row level security;
comment on table app.hooks is
'The functions that an event calls in its own transaction, in order of position.';
comment on column app.hooks.function is 'The name of a function in schema app.';

create or replace function app.check_registered(p_function text)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regproc(format('app.%I', p_function)) is null then
    raise exception 'Cannot register app.%: there is no such function.', p_function;
  end if;
end;
$$;
comment on function app.check_registered is
'Raises an error unless schema app has exactly one function of this name.';

create or replace function app.register_hook(p_event text, p_position integer, p_function text)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  select app.check_registered(p_function);
  insert into app.hooks (event, position, function) values (p_event, p_position, p_function)
  on conflict (event, position) do update set function = excluded.function;
$$;
comment on function app.register_hook is
'Registers a function of schema app that an event calls. Raises an error if there is no such function.

A listener of order_changed must take a store and an order, and return a number. A source of alerts must take nothing and return alerts.';

create or replace function app.call_registered(
  p_function text, p_store text default null, p_order text default null
)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer bigint;
begin
  execute format(
    case
      when p_store is null then 'select app.%I()'
      when p_order is null then 'select app.%I($1)'
      else 'select app.%I($1, $2)'
    end,
    p_function
  ) into v_answer using p_store, p_order;
  return v_answer;
end;
$$;
comment on function app.call_registered is
'Calls a registered task or listener. Returns its number.';

create or replace function app.order_changed(p_store text, p_order text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_function text;
begin
  for v_function in
    select hooks.function from app.hooks as hooks
    where hooks.event = 'order_changed'
    order by hooks.position
  loop
    perform app.call_registered(v_function, p_store, p_order);
  end loop;
end;
$$;
comment on function app.order_changed is
'Calls every listener of a changed order. A writer must call this once per order, at the end of its write.

p_order is the gid of a Shopify order, for all its units, or the id of a manual order.';

select app.assert_grants();
commit;
