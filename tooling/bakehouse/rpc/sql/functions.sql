-- The functions of schema public, each with a call whose arguments come from the JSON object $1.
-- Skips a function of a row, which the API reads like a column of that table.
select
  fun.proname as name,
  fun.oid::regprocedure::text as signature,
  array(
    select
      concat_ws(
        ' ', arg.name, format_type(arg.type, null),
        'default ' || pg_get_function_arg_default(fun.oid, arg.position::integer)
      )
    from
      unnest(fun.proargtypes::oid[], fun.proargnames[:fun.pronargs])
      with ordinality as arg (type, name, position)
    order by arg.position
  ) as parameters,
  case
    when fun.prorettype = 'record'::regtype and not fun.proretset
      then (
        select
          format(
            'record(%s)', string_agg(
              format('%s %s', arg.name, format_type(arg.type, null)), ', ' order by arg.position
            )
          )
        from
          unnest(fun.proallargtypes, fun.proargnames, fun.proargmodes)
          with ordinality as arg (type, name, mode, position)
        where arg.mode <> 'i'
      )
    else pg_get_function_result(fun.oid)
  end as result,
  coalesce(obj_description(fun.oid, 'pg_proc'), '') as comment,
  array(
    select api from unnest('{anon, authenticated, service_role}'::text[]) as api
    where has_function_privilege(api, fun.oid, 'execute')
  ) as granted,
  format(
    'select public.%I(%s)', fun.proname, (
      select
        string_agg(
          coalesce(quote_literal($1::jsonb ->> arg.name), 'null') || '::' || arg.type::regtype,
          ', ' order by arg.position
        )
      from
        unnest(fun.proargtypes::oid[], fun.proargnames[:fun.pronargs])
        with ordinality as arg (type, name, position)
    )
  ) as call
from pg_proc as fun
where
  fun.pronamespace = 'public'::regnamespace
  and fun.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and not exists (
    select from pg_type as typ
    where typ.oid = any(fun.proargtypes) and typ.typtype = 'c'
  )
  and not exists (
    select from pg_depend as dep
    where dep.objid = fun.oid and dep.deptype = 'e'
  )
order by fun.proname
