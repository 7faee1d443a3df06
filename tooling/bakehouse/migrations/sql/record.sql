with kept as (
  insert into supabase_migrations.schema_migrations (version, name, statements)
  values ($1, $2, $3)
  on conflict (version) do update set name = excluded.name, statements = excluded.statements
)

insert into bakehouse.migrations
(version, name, sql_hash, byte_hash, duration_ms, tool_version, git_commit)
values ($1, $2, $4, $5, $6, $7, $8)
on conflict (version) do update
  set name = excluded.name, sql_hash = excluded.sql_hash, byte_hash = excluded.byte_hash
returning version
