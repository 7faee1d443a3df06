-- What a file can change about the tables $1: storage, indexes, constraints and columns, as JSON.
-- In a union, only the first query names the columns.
-- noqa: disable=AL03,AM09
with tables as (
  select
    c.oid,
    c.relfilenode,
    format('%I.%I', n.nspname, c.relname) as label
  from pg_class as c
  inner join pg_namespace as n on c.relnamespace = n.oid
  where c.oid = any($1::oid[])
),

traits as (
  select
    'file' as kind,
    t.oid::bigint as oid,
    0::bigint as number,
    t.label,
    '' as name,
    t.relfilenode::text as value
  from tables as t

  union all
  select
    'index',
    t.oid,
    i.indexrelid::bigint,
    t.label,
    quote_ident(c.relname),
    ''
  from tables as t
  inner join pg_index as i on t.oid = i.indrelid
  inner join pg_class as c on i.indexrelid = c.oid

  union all
  select
    'constraint',
    t.oid,
    k.oid::bigint,
    t.label,
    quote_ident(k.conname),
    k.convalidated::text
  from tables as t
  inner join pg_constraint as k on t.oid = k.conrelid
  where k.contype in ('c', 'f') and k.conparentid = 0

  union all
  select
    what.kind,
    t.oid,
    a.attnum,
    t.label,
    quote_ident(a.attname),
    what.value
  from tables as t
  inner join pg_attribute as a on t.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
  cross join
    lateral (
      values
      ('type', format_type(a.atttypid, a.atttypmod)),
      ('not null', case when a.attnotnull then '' end),
      ('filled', case when a.atthasdef or a.attidentity <> '' then '' end),
      ('proved', (
        select ''
        from pg_constraint as k
        where
          k.conrelid = t.oid and k.contype = 'c' and k.convalidated
          and k.conkey = array[a.attnum]
          and pg_get_constraintdef(k.oid) = format('CHECK ((%I IS NOT NULL))', a.attname)
        limit 1
      ))
    ) as what (kind, value)
  where what.value is not null
)

select json_agg(t)::text
from traits as t
