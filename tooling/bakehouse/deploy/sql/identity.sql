-- Write the mark of the database, which is in the setting bakehouse.identity.
-- The mark is a function: functions of this schema outlive a wipe by the Supabase CLI.
create schema if not exists supabase_migrations;
do $$
begin
  execute format(
    'create or replace function supabase_migrations.bakehouse_identity() returns jsonb'
    ' language sql immutable set search_path = pg_catalog, pg_temp as %L',
    format('select %L::jsonb', current_setting('bakehouse.identity'))
  );
end;
$$;
revoke all on function supabase_migrations.bakehouse_identity() from public;
