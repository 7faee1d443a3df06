-- V101 ordering: positions and sorting, shared by all lists.
-- Needs: M0 M1
--
-- An exclusion constraint keeps the positions of each list unique. A unique constraint would make
-- the position a key. Then a new position would wait for every row that refers to its row.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.placed') is null then
    create type app.placed as (uuid uuid, position integer);
  end if;
  if to_regtype('app.sortable') is null then
    create type app.sortable as (uuid uuid, name text, inserted_at timestamptz, position integer);
  end if;
end;
$$;
comment on type app.placed is 'A row of a list, with its position.';
comment on type app.sortable is 'A row of a list, with the fields that lists are sorted by.';

create or replace function app.check_id_list(p_uuids uuid[])
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_uuids is null or cardinality(p_uuids) > 1000 then
    perform app.fail(
      'BAD_INPUT', 'Pass a list of at most 1,000 ids.',
      jsonb_build_object('count', cardinality(p_uuids))
    );
  end if;
end;
$$;
comment on function app.check_id_list is
'Rejects a missing list, and a list of more than 1,000 ids. Raises BAD_INPUT.';

create or replace function app.check_sort(p_sort text, p_uuids uuid[])
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_sort is null or p_sort not in (
    'name_asc', 'name_desc', 'created_asc', 'created_desc', 'reverse'
  ) then
    perform app.fail(
      'BAD_INPUT', 'Sort by name_asc, name_desc, created_asc, created_desc or reverse.'
    );
  end if;
  perform app.check_id_list(coalesce(p_uuids, '{}'));
end;
$$;
comment on function app.check_sort is
'Rejects an unknown way to sort, and a list of more than 1,000 ids. No list means all. Raises BAD_INPUT.';

create or replace function app.sorted_ids(p_sort text, p_rows app.sortable[])
returns uuid[]
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    array_agg(
      rows.uuid order by
        case p_sort when 'name_asc' then lower(rows.name) end,
        case p_sort when 'name_desc' then lower(rows.name) end desc,
        case p_sort when 'created_asc' then rows.inserted_at end,
        case p_sort when 'created_desc' then rows.inserted_at end desc,
        case p_sort when 'reverse' then rows.position end desc,
        rows.uuid
    ),
    '{}'
  )
  from unnest(p_rows) as rows;
$$;
comment on function app.sorted_ids is 'Returns the ids of these rows, sorted.';

create or replace function app.assign_positions(p_wanted uuid[], p_rows app.placed[])
returns setof app.placed
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select ranked.uuid, free.position
  from (
    select rows.uuid, row_number() over (order by max(wanted.at)) as rank
    from unnest(p_rows) as rows
    inner join unnest(p_wanted) with ordinality as wanted (uuid, at) on wanted.uuid = rows.uuid
    group by rows.uuid
  ) as ranked
  inner join (
    select rows.position, row_number() over (order by rows.position) as rank
    from unnest(p_rows) as rows
  ) as free on free.rank = ranked.rank;
$$;
comment on function app.assign_positions is
'Assigns the positions that these rows hold now to the same rows, in the requested sequence. If an id is given twice, the last one counts.';

create or replace function app.record_reordering(
  p_event text, p_type text, p_uuid uuid, p_rows app.placed[], p_module text default 'projects'
)
returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if cardinality(p_rows) > 0 then
    perform app.record_activity(p_event, p_type, p_uuid, jsonb_strip_nulls(jsonb_build_object(
      'count', cardinality(p_rows), 'project_uuid', case p_type when 'project' then p_uuid end
    )), p_module);
  end if;
  return cardinality(p_rows);
end;
$$;
comment on function app.record_reordering is
'Records that these rows were sorted. Returns their number. No rows record nothing.';

select app.assert_grants();
commit;
