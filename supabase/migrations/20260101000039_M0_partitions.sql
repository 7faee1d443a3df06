-- M0 partitions: adding a partition while the shop works, and the tables with one for each month.
--
-- ATTACH locks the default partition and both sides of foreign keys, until the commit. A writer
-- locks some of them early and some late. So no sequence of locks is right for all writers, and a
-- try that meets a writer must end soon.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.monthly_tables (
  name app.code primary key,
  keep_months integer not null,
  starts timestamptz,
  constraint monthly_tables_keep_check check (keep_months between 12 and 1200)
);
alter table app.monthly_tables enable row level security;
comment on table app.monthly_tables is
'The tables of schema public with a partition for each month of at_ts, in UTC. Each file registers its own.';
comment on column app.monthly_tables.keep_months is
'The number of full months before the current one that `bakehouse retention` keeps in the table.';
comment on column app.monthly_tables.starts is
'The table has all rows from this time on. Null: no month was taken away.';

create or replace function app.add_partition(p_parent text, p_name text, p_bound text)
returns void
-- definer, so that the partition belongs to our owner when the migration role calls
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_ends timestamptz := clock_timestamp() + interval '4 seconds'; -- an API role has eight
  v_parent regclass := format('public.%I', p_parent)::regclass;
  v_linked text := ( -- referenced tables first, as writers lock them
    select string_agg(linked.name, ', ' order by linked.refers desc, linked.name)
    from (
      select distinct
        keys.conrelid = v_parent as refers,
        case v_parent when keys.conrelid then keys.confrelid else keys.conrelid end::regclass::text
          as name
      from pg_constraint as keys
      where v_parent in (keys.conrelid, keys.confrelid)
      and keys.contype = 'f' and keys.conparentid = 0
    ) as linked
  );
begin
  execute format('create table public.%I (like public.%I including all)', p_name, p_parent);
  execute format('alter table public.%I enable row level security', p_name);
  execute format(
    'comment on table public.%I is %L', p_name,
    format('Partition of %s, %s. Read %s instead.', p_parent, p_bound, p_parent)
  );
  if exists ( -- a statement on the partition alone does not fire the trigger of the whole table
    select from pg_trigger as triggers
    where triggers.tgrelid = v_parent and triggers.tgfoid = 'app.append_only()'::regprocedure
  ) then
    execute format(
      'create trigger %I before update or delete or truncate on public.%I '
      'for each statement execute function app.append_only()', p_name || '_append_only', p_name
    );
  end if;
  begin
    -- This stops no writer. An autovacuum of a large table ends when a lock has waited for a second.
    execute format('lock table %s in share update exclusive mode', v_linked);
    while clock_timestamp() < v_ends loop
      begin -- a failed try gives its locks back
        -- less than deadlock_timeout, which is a second, so that a deadlock ends no other call
        perform set_config('lock_timeout', '900ms', true);
        execute format('lock table %s in share row exclusive mode', v_linked);
        perform set_config('lock_timeout', '300ms', true);
        execute format('alter table %s attach partition public.%I %s', v_parent, p_name, p_bound);
        return;
      exception
        when lock_not_available or deadlock_detected then
          perform pg_sleep(0.2);
      end;
    end loop;
  exception
    when lock_not_available or deadlock_detected then
      null;
  end;
  perform app.fail(
    'BUSY', format('Others hold locks on %s. Try again later.', p_parent),
    jsonb_build_object('table', p_parent)
  );
end;
$$;
comment on function app.add_partition is
'Adds a partition to a table of schema public that foreign keys link to others. Call it last in a transaction, because writers wait until the commit.

p_bound is written as in SQL, for example "for values in (''bannos'')". A partition of an append-only table is append-only too. Waits less than a second for each lock, and tries again for four seconds. Raises BUSY.';

create or replace function app.months()
returns table (
  parent text, name text, begins timestamptz, ends timestamptz, state text, is_old boolean
)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    tables.name::text, rel.relname::text, month.begins at time zone 'UTC',
    (month.begins + interval '1 month') at time zone 'UTC',
    case
      when links.inhrelid is null then 'detached'
      when links.inhdetachpending then 'detaching' else 'attached'
    end,
    month.begins < date_trunc('month', app.now() at time zone 'UTC')
    - make_interval(months => tables.keep_months)
  from app.monthly_tables as tables
  inner join pg_class as rel
    on rel.relnamespace = 'public'::regnamespace and rel.relkind = 'r'
    and rel.relname ~ ('^' || tables.name || '_[0-9]{4}_(0[1-9]|1[0-2])$')
  left join pg_inherits as links on links.inhrelid = rel.oid
  cross join lateral (
    select (replace(right(rel.relname, 7), '_', '-') || '-01')::timestamp as begins
  ) as month
  order by month.begins, tables.name;
$$;
comment on function app.months is
'Returns the months of the monthly tables, oldest first. state is attached, detaching (a detach was interrupted) or detached. is_old: the month is older than the table keeps.';

create or replace function app.missing_months(
  p_table text, p_from timestamptz, p_to timestamptz
)
returns setof timestamp
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select wanted.month
  from app.monthly_tables as tables
  cross join generate_series(
    date_trunc('month', p_from at time zone 'UTC'), p_to at time zone 'UTC', interval '1 month'
  ) as wanted (month)
  where tables.name = p_table
  and wanted.month at time zone 'UTC' >= coalesce(tables.starts, '-infinity')
  and not exists (
    select from pg_inherits as links
    where links.inhparent = to_regclass(format('public.%I', p_table))
    and links.inhrelid = to_regclass(
      format('public.%I', p_table || to_char(wanted.month, '_YYYY_MM'))
    )
  )
  order by wanted.month;
$$;
comment on function app.missing_months is
'Returns the months, in UTC, between two times that a monthly table has no partition for. Skips months from before its start.';

create or replace function app.add_months(p_table text, p_from timestamptz, p_to timestamptz)
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_month timestamp;
  v_added bigint := 0;
begin
  for v_month in select missing.month from app.missing_months(p_table, p_from, p_to) as missing (month)
  loop
    perform app.add_partition(
      p_table, p_table || to_char(v_month, '_YYYY_MM'), format(
        'for values from (''%s'') to (''%s'')', to_char(v_month, 'YYYY-MM-DD 00:00Z'),
        to_char(v_month + interval '1 month', 'YYYY-MM-DD 00:00Z')
      )
    );
    v_added := v_added + 1;
  end loop;
  return v_added;
end;
$$;
comment on function app.add_months is
'Adds the missing months of a monthly table between two times. Returns their number. Call it last in a transaction, as app.add_partition. Raises BUSY.';

create or replace function app.register_monthly_table(p_table text, p_keep_months integer)
returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  insert into app.monthly_tables (name, keep_months) values (p_table, p_keep_months)
  on conflict (name) do nothing;
  select app.add_months(
    p_table, app.now() - interval '1 month', app.now() + interval '3 months'
  );
$$;
comment on function app.register_monthly_table is
'Registers a table of schema public that is partitioned by at_ts. Adds its months from the last one to three ahead. A table that is registered already keeps its settings.';

create or replace function app.add_next_months()
returns bigint
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  -- One table a run. Two would lock orders and stock together, in the opposite order to some writers.
  select coalesce(sum(app.add_months(late.name, app.now(), app.now() + interval '3 months')), 0)
  from (
    select tables.name
    from app.monthly_tables as tables
    where exists (
      select from app.missing_months(tables.name, app.now(), app.now() + interval '3 months')
    )
    order by tables.name
    limit 1
  ) as late;
$$;
comment on function app.add_next_months is
'Task: adds the missing months of one monthly table, up to three ahead. Returns their number.';

create or replace function app.begin_after_month(p_name text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update app.monthly_tables as tables
  set starts = greatest(tables.starts, months.ends)
  from app.months() as months
  where months.name = p_name and months.is_old and months.parent = tables.name;
  if not found then
    perform app.fail(
      'BAD_INPUT', format('%s is no month that is older than its table keeps.', p_name),
      jsonb_build_object('name', p_name)
    );
  end if;
  perform app.audit('begin_after_month', null, p_name);
end;
$$;
comment on function app.begin_after_month is
'Moves the start of a monthly table behind an old month. Commit this before the month is detached, because readers of the table then count from its start. Audited. Raises BAD_INPUT for a month that the table keeps.';

create or replace function app.starts_of(p_table text)
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (
      select tables.starts + interval '1 day'
      from app.monthly_tables as tables where tables.name = p_table
    ),
    '-infinity'
  );
end;
$$;
comment on function app.starts_of is
'Returns the time from which readers of a monthly table count: a day after its start. Returns -infinity if no month was taken away.

A row has the time at which its transaction began. That may be before the time of a row that it follows. The day allows for that: no transaction lasts so long, and no clock is set back so far.';

create or replace function app.month_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    case when late.month <= app.now() at time zone 'UTC' then 'critical' else 'warning' end,
    'MONTHS_MISSING', late.month at time zone 'UTC' - interval '2 months', null,
    format(
      'Table %s has no partition for %s. No row of that month can be written.', tables.name,
      to_char(late.month, 'YYYY-MM')
    ),
    format(
      'As the migration role: select app.add_months(''%s'', now(), now() + interval ''3 months'')',
      tables.name
    )
  from app.monthly_tables as tables
  cross join lateral (
    select min(missing.month) as month
    from app.missing_months(tables.name, app.now(), app.now() + interval '2 months')
      as missing (month)
  ) as late
  where late.month is not null;
$$;
comment on function app.month_alerts is
'Alerts: MONTHS_MISSING, a monthly table with fewer than two months ahead.';

select app.register_task('add_months', 'tick', 'add_next_months');
select app.register_hook('alerts', 35, 'month_alerts');

select app.assert_grants();
commit;
