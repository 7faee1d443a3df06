-- The columns that a sequence numbers. Such a sequence is in the schema of its table.
-- by_cell: the column holds the number of the cell and the number of the sequence.
select
  nsp.nspname as schema,
  rel.relname as relation,
  col.attname as numbered,
  seq.relname as sequence,
  coalesce(pg_get_expr(def.adbin, def.adrelid) like '%app.first_id()%', false) as by_cell
from pg_depend as dep
inner join pg_class as seq on dep.objid = seq.oid and seq.relkind = 'S'
inner join pg_class as rel on dep.refobjid = rel.oid
inner join pg_namespace as nsp on rel.relnamespace = nsp.oid
inner join pg_attribute as col on rel.oid = col.attrelid and dep.refobjsubid = col.attnum
left join pg_attrdef as def on col.attrelid = def.adrelid and col.attnum = def.adnum
where
  dep.classid = 'pg_class'::regclass
  and dep.refclassid = 'pg_class'::regclass
  and dep.deptype in ('a', 'i')
  and nsp.nspname in ('public', 'app', 'private', 'bakehouse')
order by nsp.nspname, seq.relname
