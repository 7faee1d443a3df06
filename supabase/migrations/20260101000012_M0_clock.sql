-- M0 clock: the current time, which a test can set for its own transaction.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.clock (
  xid xid8 primary key default pg_current_xact_id(),
  at timestamptz not null
);
alter table app.clock enable row level security;
comment on table app.clock is
'The current time that a test sets for its own transaction. Empty outside tests. No API role can write here.';
comment on column app.clock.xid is
'The transaction that sees this time. Ids are never reused, so a committed row has no effect.';

create or replace function app.now()
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  -- a transaction that has written nothing has set no clock: skip the query
  if pg_current_xact_id_if_assigned() is null then
    return now();
  end if;
  return coalesce(
    (select clock.at from app.clock as clock where clock.xid = pg_current_xact_id_if_assigned()),
    now()
  );
end;
$$;
comment on function app.now is
'Returns the current time of this transaction: its start, unless the transaction has set app.clock.';

select app.assert_grants();
commit;
