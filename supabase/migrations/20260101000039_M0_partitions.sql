-- M0 partitions: adding a partition while the shop works.
--
-- ATTACH locks the default partition and both sides of foreign keys, until the commit. A writer
-- locks some of them early and some late. So no sequence of locks is right for all writers, and a
-- try that meets a writer must end soon.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

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

p_bound is written as in SQL, for example "for values in (''bannos'')". Waits less than a second for each lock, and tries again for four seconds. Raises BUSY.';

select app.assert_grants();
commit;
