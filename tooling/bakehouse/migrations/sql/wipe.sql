-- Drop all objects of migrations, and the history. Keeps the mark and the roles.
do $$
begin
  if to_regrole('bakehouse_owner') is not null then
    drop owned by bakehouse_owner cascade;
  end if;
  drop schema if exists bakehouse cascade;
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    delete from supabase_migrations.schema_migrations where true;
  end if;
end;
$$
