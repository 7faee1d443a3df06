-- The qualified name of the index $1. A new index lies in the schema of its table $2.
select format('%I.%I', n.nspname, (parse_ident($1))[cardinality(parse_ident($1))])
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where c.oid = to_regclass(coalesce($2, $1))
