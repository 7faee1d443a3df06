-- M4 cell: giving this database its number, before its first id.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.set_cell(p_cell integer)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_cell is null then
    perform app.fail('BAD_INPUT', 'p_cell must be a number from 0 to 1023.');
  end if;
  perform app.check_range('p_cell', p_cell, 0, 1023);
  lock table
    public.audit_log, public.stage_events, public.webhook_deliveries, public.work_queue,
    public.work_dead, public.work_archive, public.inventory_txn
  in share row exclusive mode; -- waits for writers, whose ids count from the old number
  if p_cell = (select cell.number from app.cell as cell) then
    return;
  end if;
  if exists (select from public.audit_log) or exists (select from public.stage_events)
    or exists (select from public.webhook_deliveries) or exists (select from public.work_queue)
    or exists (select from public.work_dead) or exists (select from public.work_archive)
    or exists (select from public.inventory_txn)
  then
    perform app.fail(
      'CONFLICT', 'This database has rows with ids. Set the number of a new database instead.',
      jsonb_build_object('cell', (select cell.number from app.cell as cell))
    );
  end if;
  update app.cell as cell set number = p_cell where cell.only_row;
end;
$$;
comment on function app.set_cell is
'Sets the number of this database, 0 to 1023. For the migration role, before the first order.

The same number again changes nothing. Raises BAD_INPUT, and CONFLICT when a row has an id already.';

select app.assert_grants();
commit;
