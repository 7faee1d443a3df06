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
'A moment that one transaction takes for now. Empty outside tests; no API role can write it.';
comment on column app.clock.xid is
'The transaction the row speaks for. Never reused, so a row that was committed has no effect.';

create or replace function app.now()
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  -- a transaction that has written nothing has set no clock, and mostly that is so
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
'The moment this transaction works with: its start, unless it has set app.clock.';

select app.assert_grants();

commit;
