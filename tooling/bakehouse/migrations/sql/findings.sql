-- What happened to tables in use between two readings of watched.sql: $1 before, $2 after.
-- A finding counts on a large table, or (oid 0) at any size. A new type explains a rewrite.
-- In a union, only the first query names the columns.
-- noqa: disable=AL03
with
before as (
  select t.*
  from
    json_to_recordset($1::json)
      as t (kind text, oid bigint, number bigint, label text, name text, value text)
),

now as (
  select t.*
  from
    json_to_recordset($2::json)
      as t (kind text, oid bigint, number bigint, label text, name text, value text)
),

-- the few that differ: the planner would join the others in nested loops
different as (
  select n.* from now as n
  except
  select b.* from before as b
),

after as (
  select
    d.*,
    b.value as was,
    b.kind is null as is_new
  from different as d
  left join before as b on d.kind = b.kind and d.oid = b.oid and d.number = b.number
),

retyped as (
  select a.*
  from after as a
  where a.kind = 'type' and a.was <> a.value
)

select
  a.oid,
  a.label,
  format('builds %s while nobody can write to %s', a.name, a.label) as what,
  'Create it concurrently, in a file of its own' as advice,
  false as rewrites
from after as a
where a.kind = 'index' and a.is_new

union all
select
  a.oid,
  a.label,
  format('checks every row of %s for %s under a lock', a.label, a.name),
  'Add it not valid; validate it in a later file',
  false
from after as a
where a.kind = 'constraint' and a.is_new and a.value = 'true'

union all
select
  a.oid,
  a.label,
  format('changes the type of %s.%s from %s to %s', a.label, a.name, a.was, a.value),
  'Add a column, fill it, let readers move over, drop the old one in a later release',
  false
from retyped as a

union all
select
  0,
  '',
  format('the previous release cannot insert into %s without %s', a.label, a.name),
  'Add it nullable or with a default, and fill it; set not null in a later release',
  false
from after as a
inner join after as c on a.oid = c.oid and a.number = c.number and c.kind = 'type' and c.is_new
where
  a.kind = 'not null'
  and not exists (
    select from now as f
    where f.kind = 'filled' and f.oid = a.oid and f.number = a.number
  )

union all
select
  a.oid,
  a.label,
  format('scans %s.%s for nulls under a lock', a.label, a.name),
  'Validate a check that it is not null in an earlier file: then there is no scan',
  false
from after as a
inner join before as c on a.oid = c.oid and a.number = c.number and c.kind = 'type'
where
  a.kind = 'not null' and a.is_new
  and not exists (
    select from before as p
    where p.kind = 'proved' and p.oid = a.oid and p.number = a.number
  )

union all
select
  a.oid,
  a.label,
  case
    when a.oid not in (select r.oid from retyped as r)
      then format('rewrites %s while nobody can use it', a.label)
    else ''
  end,
  'A default that is constant needs no rewrite; fill other values in batches',
  true
from after as a
where a.kind = 'file' and a.was <> a.value
order by rewrites, what
