-- The setting tells the triggers of the history that this tool writes the row.
-- Without how ($9), a row keeps the way in which it came.
with kept as (
  insert into supabase_migrations.schema_migrations (version, name, statements)
  select
    given.version,
    given.name,
    given.statements
  from (values ($1, $2, $3::text[])) as given (version, name, statements)
  where set_config('bakehouse.guard', 'off', true) = 'off'
  on conflict (version) do update set name = excluded.name, statements = excluded.statements
)

insert into bakehouse.migrations as m
(version, name, sql_hash, byte_hash, duration_ms, tool_version, git_commit, how, reason)
values ($1, $2, $4, $5, $6, $7, $8, coalesce($9, 'applied'), $10)
on conflict (version) do update
  set
    name = excluded.name, sql_hash = excluded.sql_hash, byte_hash = excluded.byte_hash,
    how = coalesce($9, m.how), reason = coalesce($10, m.reason)
returning version
