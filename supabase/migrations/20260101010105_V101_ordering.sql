-- V101 ordering: positions and sorts, once for all lists.
--
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.check_id_list(p_uuids uuid[])
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_uuids is null or cardinality(p_uuids) > 1000 then
    perform app.fail(
      'BAD_INPUT', 'An order is a list of at most 1000 ids.',
      jsonb_build_object('count', cardinality(p_uuids))
    );
  end if;
end;
$$;
comment on function app.check_id_list is
'Refuse no list, and one that is too long, as it was sent: a client gone wrong. Raises BAD_INPUT.';

create or replace function app.check_sort(p_strategy text)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_strategy is null or p_strategy not in (
    'name_asc', 'name_desc', 'created_asc', 'created_desc', 'reverse'
  ) then
    perform app.fail(
      'BAD_INPUT', 'Sort by name_asc, name_desc, created_asc, created_desc or reverse.'
    );
  end if;
end;
$$;
comment on function app.check_sort is
'Refuse what is no way to sort. Raises BAD_INPUT.';

create or replace function app.assign_positions(
  p_wanted uuid[], p_found uuid[], p_positions integer[]
)
returns table (uuid uuid, place integer)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select ordered.uuid, places.position
  from (
    select wanted.uuid, row_number() over (order by max(wanted.at)) as rank
    from unnest(p_wanted) with ordinality as wanted (uuid, at)
    where wanted.uuid = any(p_found)
    group by wanted.uuid
  ) as ordered
  inner join (
    select slots.position, row_number() over (order by slots.position) as rank
    from unnest(p_positions) as slots (position)
  ) as places on places.rank = ordered.rank;
$$;
comment on function app.assign_positions is
'Who gets which place when these take each other''s places in the order wanted. Whatever else is in the list keeps its own; of a double the last counts.';

select app.assert_grants();

commit;
