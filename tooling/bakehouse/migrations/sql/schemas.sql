-- Our schemas: all but those of Postgres, of the platform and of this tool.
select
  n.oid,
  n.nspname,
  n.nspacl,
  n.nspowner
from pg_namespace as n
where
  n.nspname !~ '^(pg_|information_schema$)'
  and n.nspname not in (
    'auth', 'storage', 'realtime', '_realtime', 'vault', 'graphql', 'graphql_public',
    'extensions', 'supabase_functions', 'supabase_migrations', 'bakehouse', 'net', 'cron',
    'pgbouncer', 'pgsodium', 'pgsodium_masks'
  )
