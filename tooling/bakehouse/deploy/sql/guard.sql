-- Guard the history of staging and prod against other tools.
--
-- `supabase db reset` and `supabase migration down` wipe a database and empty this table in one
-- transaction, so a refusal here also rolls back the wipe. `supabase migration repair --status
-- reverted` deletes from this table. A wipe keeps this schema, so the functions are here too.
--
-- A new row is let in and marked as foreign: its file may have taken effect in an earlier
-- transaction. Only this tool turns the setting bakehouse.guard off.
alter table supabase_migrations.schema_migrations
add column if not exists foreign_at timestamptz,
add column if not exists foreign_by text;

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
  if tg_op = 'UPDATE' then
    new.foreign_at := null;
    new.foreign_by := null;
    return new;
  end if;
  return null;
end;
$$;
revoke all on function supabase_migrations.bakehouse_guard() from public;

create or replace function supabase_migrations.bakehouse_foreign()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(current_setting('bakehouse.guard', true), '') <> 'off' then
    new.foreign_at := clock_timestamp();
    new.foreign_by := session_user;
  end if;
  return new;
end;
$$;
revoke all on function supabase_migrations.bakehouse_foreign() from public;

create or replace trigger bakehouse_guard
before delete or truncate on supabase_migrations.schema_migrations
for each statement execute function supabase_migrations.bakehouse_guard();

-- for each row, because every `insert ... on conflict do update` fires the statement's triggers
create or replace trigger bakehouse_guard_rows
before update on supabase_migrations.schema_migrations
for each row execute function supabase_migrations.bakehouse_guard();

create or replace trigger bakehouse_foreign
before insert on supabase_migrations.schema_migrations
for each row execute function supabase_migrations.bakehouse_foreign();
