-- Move the baseline: $1 is the new chain head, $2 is gone, $3 is new or changed, $4 is the file.
-- Accepted drift that the file names belongs to the file from now on, and needs no acceptance.
with
named as (
  select
    a.object,
    a.hash,
    regexp_replace(current_user, '(\W)', '\\\1', 'g') as migration_role,
    case split_part(a.object, ' ', 1)
      when 'setting' then '(?=[^;]*\m(re)?set\M)' when 'options' then '(?=[^;]*\m(re)?set\s*\()'
    end as action,
    regexp_match(
      regexp_replace(a.object, '^(setting|options) of ', ''),
      '(\w+) (?:\S*\.)?"?((?:[^"]|"")+?)"?$' -- such as: index a.b
    ) as part
  from bakehouse.accepted_drift as a
),

brought as (
  select
    n.object,
    n.hash
  from named as n
  where
    $4::text ~* case
      when n.object = 'setting of role all'
        then concat('\malter\s+(database|(role|user)\s+all)\M', n.action)
      else format(
        '\m(create|alter|drop)\M%s[^;]*\m%s\M[^;]*(?<![\w$])%s(?![\w$])', n.action,
        replace(n.part[1], 'role', '(role|user)'),
        case
          when n.part[2] = 'migration_role' then format('(current_user|%s)', n.migration_role)
          else regexp_replace(n.part[2], '(\W)', '\\\1', 'g')
        end
      )
    end
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
