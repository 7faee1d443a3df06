-- V101 schedule: when work will be done, and whether it is late.
--
-- Needs: M0 M1
--
-- Where weekends do not count, each of the five days carries 8 hours of work, spread evenly over
-- its 24: three hours on the clock for one of work. UTC, no holidays, no opening hours.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal
create or replace function app.working_seconds(p_at timestamptz)
returns numeric
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  -- since Monday 1970-01-05; a week has 432000 seconds of working days among its 604800
  select floor(since.seconds / 604800) * 432000
    + least(since.seconds - floor(since.seconds / 604800) * 604800, 432000)
  from (select extract(epoch from p_at) - 345600 as seconds) as since;
$$;
comment on function app.working_seconds is
'The seconds of working days up to a moment, from a fixed one.';

create or replace function app.end_of_work(
  p_start timestamptz, p_hours numeric, p_counts_weekends boolean
)
returns timestamptz
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_target numeric;
  v_weeks numeric;
begin
  if p_hours is null or p_hours <= 0 then
    return null;
  end if;
  if p_counts_weekends then
    return p_start + p_hours * interval '1 hour';
  end if;
  v_target := app.working_seconds(p_start) + p_hours * 3 * 3600;
  v_weeks := ceil(v_target / 432000) - 1; -- work that fills a week ends with its Friday
  return to_timestamp(345600 + v_weeks * 604800 + v_target - v_weeks * 432000);
end;
$$;
comment on function app.end_of_work is
'When so many hours of work are done. Null for none.';

create or replace function app.work_hours(
  p_from timestamptz, p_to timestamptz, p_counts_weekends boolean
)
returns numeric
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_counts_weekends then extract(epoch from p_to - p_from) / 3600
    else (app.working_seconds(p_to) - app.working_seconds(p_from)) / 3 / 3600
  end;
$$;
comment on function app.work_hours is
'The hours of work between two moments: the opposite of app.end_of_work.';

-- Functions, public
create or replace function public.end_of_work(
  p_start timestamptz, p_hours numeric, p_counts_weekends boolean default false
)
returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return app.end_of_work(p_start, p_hours, coalesce(p_counts_weekends, false));
end;
$$;
comment on function public.end_of_work is
'When so many hours of work are done: on the clock where weekends count, else 8 hours to each weekday of 24. Null for no hours.

Role: Staff.';
grant execute on function public.end_of_work to authenticated;

create or replace function public.get_project_schedule(
  p_project_uuid uuid, p_language text default null
)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
  v_now timestamptz := app.now();
  v_clock numeric; -- hours of the clock to one of the project
  v_total numeric;
  v_done numeric;
  v_remaining numeric;
  v_planned_end timestamptz;
  v_elapsed numeric;
  v_expected numeric;
  v_overdue boolean;
  v_row record;
  v_starts_at timestamptz;
  v_ends_at timestamptz;
  v_rows jsonb[] := '{}'::jsonb[];
begin
  perform app.require('Staff');
  v_project := app.find_project(p_project_uuid);

  v_clock := case when v_project.counts_weekends then 1 else 3 end;
  v_starts_at := coalesce(v_project.started_at, v_project.scheduled_start_date, v_now);
  for v_row in
    select
      rows.row_uuid, rows.hours, rows.counts_weekends,
      app.translate(rows.title, rows.title_translations, rows.title_field, p_language) as label
    from app.project_rows as rows
    where rows.project_uuid = p_project_uuid
    order by rows.position
  loop
    v_ends_at := coalesce(
      app.end_of_work(v_starts_at, v_row.hours, v_row.counts_weekends), v_starts_at
    );
    v_rows := array_append(v_rows, jsonb_build_object(
      'row_uuid', v_row.row_uuid, 'label', v_row.label, 'hours', v_row.hours,
      'starts_at', v_starts_at, 'ends_at', v_ends_at
    ));
    v_starts_at := v_ends_at;
  end loop;

  select
    coalesce(sum(rows.clock_hours), 0) / v_clock,
    coalesce(sum(rows.clock_hours * case
      when rows.status = 'done' then 1
      when assignments.track_progress then rows.progress_pct / 100.0
      else 0
    end), 0) / v_clock
  into v_total, v_done
  from app.project_rows as rows
  inner join public.project_assignments as assignments on assignments.uuid = rows.row_uuid
  where rows.project_uuid = p_project_uuid;
  v_remaining := v_total - v_done;
  v_planned_end := app.end_of_work(v_project.started_at, v_total, v_project.counts_weekends);
  v_overdue := coalesce(v_now > v_planned_end and v_remaining > 0, false);
  v_elapsed := app.work_hours(v_project.started_at, v_now, v_project.counts_weekends);
  v_expected := case
    when v_overdue then 100
    when v_elapsed is not null and v_total > 0
      then least(greatest(v_elapsed, 0) / v_total * 100, 100)
  end;
  return jsonb_build_object(
    'project_uuid', p_project_uuid, 'started_at', v_project.started_at,
    'planned_end', v_planned_end, 'total_hours', trim_scale(v_total),
    'done_hours', trim_scale(v_done),
    'expected_pct', round(v_expected, 1),
    'actual_pct', round(v_done / nullif(v_total, 0) * 100, 1),
    'overdue', v_overdue,
    'eta', case
      when v_project.completed_at is not null then v_project.completed_at
      when v_remaining <= 0 then v_now
      else app.end_of_work(v_now, v_remaining, v_project.counts_weekends)
    end,
    'rows', to_jsonb(v_rows)
  );
end;
$$;
comment on function public.get_project_schedule is
'When a project is planned to end, how far it should be and is, when it will be done, and its rows one after another.

planned_end and expected_pct are null before the start, both percentages where nothing is estimated. overdue: past planned_end with work left. eta: completion, else now plus what is left. Rows follow each other from the start, else the scheduled one, else now; a row without estimate takes no time.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_project_schedule to authenticated;

select app.assert_grants();

commit;
