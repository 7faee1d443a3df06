-- The number of rows of each of our tables, by name. query_to_xml() runs the query that counts.
select
  coalesce(
    jsonb_object_agg(
      format('%s.%s', n.nspname, c.relname),
      substring(
        query_to_xml(
          format('select count(*) as rows from %I.%I', n.nspname, c.relname), true, true, ''
        )::text from '<rows>(\d+)</rows>'
      )::bigint
    ), '{}'
  )
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where c.relkind = 'r' and n.nspname in ('public', 'app', 'private')
