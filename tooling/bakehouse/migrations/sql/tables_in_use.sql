select
  c.oid::bigint as oid,
  c.relfilenode::bigint as file,
  format('%I.%I', n.nspname, c.relname) as name,
  greatest(c.reltuples, 0)::bigint as rows
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^(pg_|information_schema$|bakehouse$)'
