-- Move the baseline: $1 is the new chain head, $2 is gone, $3 is new or changed, $4 is the file.
-- Accepted drift that the file names belongs to the file from now on, and needs no acceptance.
with
named as (
  select
    a.object,
    a.hash,
    regexp_match(a.object, '(\w+) (?:\S*\.)?"?((?:[^"]|"")+?)"?$') as part -- such as: index a.b
  from bakehouse.accepted_drift as a
),

brought as (
  select
    n.object,
    n.hash
  from named as n
  where
    $4::text ~* format(
      '\m(create|alter|drop)\M[^;]*\m%s\M[^;]*(?<![\w$])%s(?![\w$])', n.part[1],
      regexp_replace(n.part[2], '(\W)', '\\\1', 'g')
    )
),

moved as (
  update bakehouse.baseline as b
  set
    chain_head = $1, moved_at = clock_timestamp(),
    objects = (b.objects - $2::text[] - array(select o.object from brought as o))
    || (
      select coalesce(jsonb_object_agg(o.object, o.hash), '{}') from brought as o
      where o.hash is not null
    ) || $3
  where b.only_row
  returning b.objects
)

delete from bakehouse.accepted_drift as a
using moved as m
where
  a.object in (select o.object from brought as o)
  or m.objects ->> a.object is not distinct from a.hash
returning a.object
