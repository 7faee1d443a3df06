-- Do not let any tool empty the history of staging and prod.
--
-- `supabase db reset` and `supabase migration down` wipe a database and empty this table in one
-- transaction, so a refusal here also rolls back the wipe. `supabase migration repair --status
-- reverted` deletes from this table. A wipe keeps this schema, so the function is here too.
create or replace function supabase_migrations.bakehouse_guard()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(current_setting('bakehouse.guard', true), '') <> 'off' then
    raise exception 'The history of this % database is guarded against %.',
      supabase_migrations.bakehouse_identity() ->> 'env', lower(tg_op)
      using hint = 'Nothing was changed. `bakehouse migrate repair` repairs one row. No command resets this database.';
  end if;
  return null;
end;
$$;
revoke all on function supabase_migrations.bakehouse_guard() from public;
create or replace trigger bakehouse_guard
before delete or truncate on supabase_migrations.schema_migrations
for each statement execute function supabase_migrations.bakehouse_guard();
