select
  c.oid::bigint as oid,
  n.nspname as schema,
  c.relname as name,
  coalesce(
    array_agg(a.attname::text order by a.attnum) filter (where a.attname is not null), '{}'
  ) as columns
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
left join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'm') and c.oid = any($1::oid[])
group by c.oid, n.nspname, c.relname
order by n.nspname, c.relname
