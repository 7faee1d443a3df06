-- Invalid indexes, without those ($1) that an unfinished step builds again.
select format('index %I.%I is invalid', n.nspname, c.relname)
from pg_index as i
inner join pg_class as c on i.indexrelid = c.oid
inner join pg_namespace as n on c.relnamespace = n.oid
where
  not i.indisvalid and c.relkind = 'i' and n.nspname !~ '^pg_'
  and format('index %I.%I', n.nspname, c.relname) <> all($1::text[])
