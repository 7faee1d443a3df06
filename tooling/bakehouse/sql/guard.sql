-- In staging and prod: nobody empties the history, whichever tool they use.
--
-- The Supabase CLI's `db reset` and `migration down` wipe a database in one transaction that also
-- empties this table, so a refusal here undoes the wipe; `migration repair --status reverted`
-- deletes from it. The function is in the same schema because that one outlives a wipe.
create or replace function supabase_migrations.bakehouse_guard()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(current_setting('bakehouse.guard', true), '') <> 'off' then
    raise exception 'The history of this % database is guarded against %.',
      supabase_migrations.bakehouse_identity() ->> 'env', lower(tg_op)
      using hint = 'Nothing was changed. `bakehouse migrate repair` mends one row; nothing resets this database.';
  end if;
  return null;
end;
$$;
revoke all on function supabase_migrations.bakehouse_guard() from public;
create or replace trigger bakehouse_guard
before delete or truncate on supabase_migrations.schema_migrations
for each statement execute function supabase_migrations.bakehouse_guard();
