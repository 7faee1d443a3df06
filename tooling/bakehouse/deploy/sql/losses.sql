-- What tables lost, by the counts of count_values.sql before ($1) and after ($2) a change.
-- Values that a deleted row takes along are no loss of a column.
with was as (
  select
    b.oid,
    b.name,
    b.columns,
    b.counts
  from
    jsonb_to_recordset($1::jsonb) as b (oid bigint, name text, columns text[], counts bigint[])
),

compared as (
  select
    w.name,
    w.columns,
    w.counts,
    a.counts as left_counts,
    a.columns as left_columns
  from was as w
  left join
    jsonb_to_recordset($2::jsonb) as a (oid bigint, columns text[], counts bigint[])
    on w.oid = a.oid
),

lost as (
  select
    c.name,
    0 as place,
    case
      when c.left_counts is null then format('table %s: %s rows', c.name, c.counts[1])
      else
        format('table %s: %s of %s rows', c.name, c.counts[1] - c.left_counts[1], c.counts[1])
    end as line
  from compared as c
  where c.left_counts is null or c.left_counts[1] < c.counts[1]

  union all
  select
    c.name,
    v.place,
    format('column %s.%s: %s values', c.name, v.name, v.count - coalesce(l.count, 0)) as line
  from compared as c
  cross join
    lateral unnest(c.columns, c.counts[2:]) with ordinality as v (name, count, place)
  left join
    lateral unnest(c.left_columns, c.left_counts[2:]) as l (name, count)
    on v.name = l.name
  where
    c.left_counts is not null and v.count > coalesce(l.count, 0)
    and (l.name is null or c.left_counts[1] = c.counts[1])
)

select o.line
from lost as o
order by o.name, o.place
