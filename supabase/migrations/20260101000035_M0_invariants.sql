-- M0 invariants: what must hold between tables, and one query that finds what does not.
--
-- Some facts are stored twice, because counting or searching would be slow. A constraint cannot
-- compare two tables. So each file registers a function that returns the rows that disagree.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.invariants (
  name text primary key,
  function text not null
);
alter table app.invariants enable row level security;
comment on table app.invariants is
'The invariants that app.audit_all checks. Each file registers its own invariants.';
comment on column app.invariants.function is
'The name of a function in schema app. Text, because a reg* column would stop pg_upgrade.';

create or replace function app.register_invariant(p_name text, p_function text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.check_registered(p_function);
  insert into app.invariants (name, function) values (p_name, p_function)
  on conflict (name) do update set function = excluded.function;
end;
$$;
comment on function app.register_invariant is
'Registers a function of schema app as an invariant. Raises an error if there is no such function.

The function must take nothing and return a row (store, what) for each violation. store is null for data of all stores.';

do $$
begin
  if to_regtype('app.violation') is null then
    create type app.violation as (store text, what text);
  end if;
end;
$$;
comment on type app.violation is
'A row that breaks an invariant. store is null where the row belongs to no store.';

create or replace function app.find_violations(p_function text)
returns setof app.violation
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return query execute format(
    'select found.store::text, found.what::text from app.%I() as found', p_function
  );
end;
$$;
comment on function app.find_violations is
'Calls the function of an invariant. Returns its violations.';

create or replace function app.audit_all()
returns table (name text, store text, violations bigint, example text)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64MB' -- each invariant reads whole tables
set jit = off
as $$
  select invariants.name, found.store, count(*), min(found.what)
  from app.invariants as invariants
  cross join lateral app.find_violations(invariants.function) as found
  group by invariants.name, found.store
  order by invariants.name, found.store;
$$;
comment on function app.audit_all is
'Returns each invariant that does not hold, by store, with the number of violations and an example. Returns nothing when all hold.

Reads one snapshot, so the check is exact while others write. Writes and locks nothing.';

select app.assert_grants();
commit;
