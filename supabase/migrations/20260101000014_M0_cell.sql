-- M0 cell: the number of this database, so that no other database gives out the same ids.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.cell (
  only_row boolean primary key default true check (only_row),
  number smallint not null check (number between 0 and 1023)
);
alter table app.cell enable row level security;
comment on table app.cell is
'The number of this database. Every numbered id is number * 2^43 + n, so databases with different numbers share no id.';
comment on column app.cell.number is
'0 to 1023, so that ids stay below 2^53 and are exact in JavaScript. Only app.set_cell changes it.';

insert into app.cell (number) values (0) on conflict (only_row) do nothing;

create or replace function app.first_id()
returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (select cell.number::bigint << 43 from app.cell as cell);
end;
$$;
comment on function app.first_id is
'Returns the number that the ids of this database count from. The default of an id adds the next number of its sequence.

The number is no option of the sequences, so the schemas of all databases stay equal.';

select app.assert_grants();
commit;
