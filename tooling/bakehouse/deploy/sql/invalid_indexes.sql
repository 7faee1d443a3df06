-- Invalid indexes, without those that a pending file ($1) builds again.
select format('index %s is invalid', i.indexrelid::regclass)
from pg_index as i
inner join pg_class as c on i.indexrelid = c.oid
inner join pg_namespace as n on c.relnamespace = n.oid
where
  not i.indisvalid and c.relkind = 'i' and n.nspname !~ '^pg_'
  and not exists (
    select from unnest($1::text[]) as own (name)
    where to_regclass(own.name) = i.indexrelid
  )
