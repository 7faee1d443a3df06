-- The history if only other tools have applied files.
select
  h.version,
  to_jsonb(h) ->> 'name' as name,
  to_jsonb(h) -> 'statements' as statements
from supabase_migrations.schema_migrations as h
order by h.version collate "C" -- noqa: RF03
