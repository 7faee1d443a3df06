-- The tables that can be in use, with an estimate of their rows. A table has grown or shrunk as its
-- pages have since it was analysed. A table that was not analysed, or was empty then, is estimated
-- from its pages and the width of its columns. A partitioned table has the rows of its partitions.
with tables as (
  select
    c.oid,
    c.relkind,
    c.reltuples,
    c.relpages,
    format('%I.%I', n.nspname, c.relname) as name,
    coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::numeric as pages
  from pg_class as c
  inner join pg_namespace as n on c.relnamespace = n.oid
  where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^(pg_|information_schema$|bakehouse$)'
),

estimates as (
  select
    t.*,
    t.pages * case
      when t.relpages > 0 then greatest(t.reltuples, 0)::numeric / t.relpages
      -- as the planner does: a header of 28 bytes a row, and 32 bytes for a value of no fixed size
      else (
        select 8168.0 / (28 + coalesce(sum(case when a.attlen > 0 then a.attlen else 32 end), 0))
        from pg_attribute as a
        where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      )
    end as rows
  from tables as t
)

select
  e.oid::bigint as oid,
  e.name,
  case
    when e.relkind = 'p'
      then (
        select coalesce(sum(leaf.rows), 0)
        from pg_partition_tree(e.oid) as p
        inner join estimates as leaf on p.relid = leaf.oid
      )
    else e.rows
  end::bigint as rows
from estimates as e
