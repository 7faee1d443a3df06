-- M0 hooks: work that runs by itself, and listeners that a change calls.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.schedule (
  task text not null,
  store text not null references public.stores (code),
  day date not null,
  ran_at timestamptz not null,
  primary key (task, store)
);
create index if not exists schedule_store_idx on app.schedule (store);
alter table app.schedule enable row level security;
comment on table app.schedule is 'When each daily task last ran for each store.';
comment on column app.schedule.day is 'The day it ran for, by the calendar of the store.';

create or replace function app.tick()
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_due record;
  v_done jsonb := jsonb_build_object();
begin
  if not pg_try_advisory_xact_lock(hashtext('app.tick')) then
    return v_done;
  end if;

  -- a new day in a store makes its daily tasks due, however late this comes
  for v_due in
    insert into app.schedule as last (task, store, day, ran_at)
    select daily.task, stores.code, app.today(stores.code), app.now()
    from public.stores as stores
    cross join (values ('refresh_priorities'), ('reconcile')) as daily (task)
    where daily.task <> 'reconcile' or stores.shop_domain is not null
    order by stores.code, daily.task
    on conflict (task, store) do update
      set day = excluded.day, ran_at = excluded.ran_at
      where last.day < excluded.day
    returning last.task, last.store
  loop
    v_done := v_done || jsonb_build_object(
      v_due.task || ' ' || v_due.store,
      case v_due.task
        when 'refresh_priorities' then app.refresh_priorities(v_due.store)
        when 'reconcile' then app.enqueue(
          'reconcile', jsonb_build_object('store', v_due.store), v_due.store
        )
      end
    );
  end loop;

  return v_done || jsonb_build_object(
    'fill_holds', app.fill_holds(), -- of orders that were locked when the stock came
    'reap_work', app.reap_work(),
    'purge_work', app.purge_work(),
    'purge_deliveries', app.purge_deliveries(),
    'fold_tally', app.fold_tally()
  );
end;
$$;
comment on function app.tick is
'Do whatever is due: each store''s new day, jobs of dead workers, what has been kept long enough. Answers with what each task returned.

Meant to be called every minute, by pg_cron or bakehouse tick. As often as one likes is fine, and so is twice at once: the second finds the first at work and does nothing.';

select app.assert_grants();

reset role;

-- the job runs as the migration role; scheduling it again replaces it
do $$
begin
  if to_regnamespace('cron') is not null then
    perform cron.schedule('bakehouse tick', '* * * * *', 'select app.tick()');
  end if;
end;
$$;

commit;
