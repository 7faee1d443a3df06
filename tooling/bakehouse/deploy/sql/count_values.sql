-- How many rows each table ($1) has, and after that, how many values each of its columns has.
-- query_to_xml() runs the query that counts: one scan a table, whatever its columns.
with tables as (
  select
    c.oid,
    n.nspname,
    c.relname,
    coalesce(
      array_agg(a.attname::text order by a.attnum) filter (where a.attname is not null), '{}'
    ) as columns
  from pg_class as c
  inner join pg_namespace as n on c.relnamespace = n.oid
  left join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
  where c.relkind in ('r', 'm') and c.oid = any($1::oid[])
  group by c.oid, n.nspname, c.relname
)

select
  t.columns,
  t.oid::bigint as oid,
  concat(t.nspname, '.', t.relname) as name,
  substring(
    query_to_xml(
      format(
        'select array[count(*)%s]::text as counts from %I.%I',
        (select string_agg(format(', count(%I)', u.name), '') from unnest(t.columns) as u (name)),
        t.nspname, t.relname
      ),
      true, true, ''
    )::text from '{.*}'
  )::bigint[] as counts
from tables as t
