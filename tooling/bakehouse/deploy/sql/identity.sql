-- Write the mark of the database. The setting bakehouse.identity gives the mark.
-- The mark is a function in this schema, because a wipe by the Supabase CLI keeps such functions.
create schema if not exists supabase_migrations;
do $$
begin
  if exists (
    select from jsonb_array_elements_text(
      current_setting('bakehouse.identity')::jsonb -> 'addresses'
    ) as a
    where a.value !~ '.:\d+$'
  ) then
    raise exception 'an address has no port'
      using hint = 'Nothing was marked. Write host:port, as clients connect.';
  end if;
  execute format(
    'create or replace function supabase_migrations.bakehouse_identity() returns jsonb'
    ' language sql immutable set search_path = pg_catalog, pg_temp as %L',
    format('select %L::jsonb', current_setting('bakehouse.identity'))
  );
end;
$$;
revoke all on function supabase_migrations.bakehouse_identity() from public;
