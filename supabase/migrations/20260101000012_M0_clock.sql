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
  if current_setting('bakehouse.clock', true) is distinct from 'set' then
    return now(); -- skips the query, because a webhook asks for the time fifteen times
  end if;
  return coalesce(
    (select clock.at from app.clock as clock where clock.xid = pg_current_xact_id_if_assigned()),
    now()
  );
end;
$$;
comment on function app.now is
'Returns the current time of this transaction: its start, unless the transaction has set app.clock.';

create or replace function app.mark_clock()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('bakehouse.clock', 'set', true);
  return new;
end;
$$;
comment on function app.mark_clock is
'Trigger: makes app.now() read app.clock in this transaction. The mark alone sets no time.';

create or replace trigger clock_mark before insert or update on app.clock
for each row execute function app.mark_clock();

select app.assert_grants();
commit;
