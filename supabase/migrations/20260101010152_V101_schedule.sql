-- V101 schedule: when a project will be done, and whether it is late.
-- Needs: M0 M1
--
-- If weekends do not count, each of the five days has 8 hours of work, spread evenly over 24. One
-- hour of work then takes three clock hours. Times are UTC, without holidays or opening hours.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.working_seconds(p_at timestamptz)
returns numeric
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  -- a week has 604800 seconds, and its five working days have 432000
  select floor(since.seconds / 604800) * 432000
    + least(since.seconds - floor(since.seconds / 604800) * 604800, 432000)
  from (select extract(epoch from p_at) - 345600 as seconds) as since;
$$;
comment on function app.working_seconds is
'Returns the seconds of working days between Monday 1970-01-05 and a time.';

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
  v_weeks := ceil(v_target / 432000) - 1; -- work that fills a week ends on Friday, not on Monday
  return to_timestamp(345600 + v_weeks * 604800 + v_target - v_weeks * 432000);
end;
$$;
comment on function app.end_of_work is
'Returns the time when the given hours of work end. Returns null for no hours.';

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
'Returns the hours of work between two times. The reverse of app.end_of_work.';

create or replace function public.end_of_work(
  p_start timestamptz, p_hours numeric, p_counts_weekends boolean default false
)
returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  perform app.check_range('p_start', p_start, '1900-01-01', '2999-12-31');
  perform app.check_range('p_hours', p_hours, -1000000, 1000000);
  return app.end_of_work(p_start, p_hours, coalesce(p_counts_weekends, false));
end;
$$;
comment on function public.end_of_work is
'Returns the time when the given hours of work end.

If weekends count, the hours are clock hours. Otherwise each weekday has 8 hours of work, spread evenly over 24. p_hours must be at most 1,000,000, and p_start from 1900 to 2999. Returns null for no hours.

Role: Staff. Errors: BAD_INPUT.';
grant execute on function public.end_of_work to authenticated;

create or replace function app.scheduled_rows(
  p_project_uuid uuid, p_start timestamptz, p_language text
)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_row record;
  v_starts_at timestamptz := p_start;
  v_ends_at timestamptz;
  v_rows jsonb[] := '{}'::jsonb[];
begin
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
  return to_jsonb(v_rows);
end;
$$;
comment on function app.scheduled_rows is
'Returns the rows of a project one after another, each with its start and end.';

create or replace function public.get_project_schedule(
  p_project_uuid uuid, p_language text default null
)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
  v_now timestamptz := app.now();
  v_clock numeric; -- clock hours that one hour of work takes
  v_total numeric;
  v_done numeric;
  v_remaining numeric;
  v_planned_end timestamptz;
  v_overdue boolean;
begin
  perform app.require('Staff');
  v_project := app.find_project(p_project_uuid);
  v_clock := case when v_project.counts_weekends then 1 else 3 end;
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
  return jsonb_build_object(
    'project_uuid', p_project_uuid, 'started_at', v_project.started_at,
    'planned_end', v_planned_end, 'total_hours', trim_scale(v_total),
    'done_hours', trim_scale(v_done),
    'expected_pct', round(case
      when v_overdue then 100
      when v_project.started_at is not null and v_total > 0 then least(100, greatest(
        0, app.work_hours(v_project.started_at, v_now, v_project.counts_weekends)
      ) / v_total * 100)
    end, 1),
    'actual_pct', round(v_done / nullif(v_total, 0) * 100, 1), 'overdue', v_overdue,
    'eta', case
      when v_project.completed_at is not null then v_project.completed_at
      when v_remaining <= 0 then v_now
      else app.end_of_work(v_now, v_remaining, v_project.counts_weekends)
    end,
    'rows', app.scheduled_rows(
      p_project_uuid, coalesce(v_project.started_at, v_project.scheduled_start_date, v_now),
      p_language
    )
  );
end;
$$;
comment on function public.get_project_schedule is
'Returns the planned end of a project, its expected and actual progress, and its rows.

planned_end and expected_pct are null before the start. Both percentages are null if nothing has an estimate. overdue is true if work is left after planned_end. eta is the completion, or the end of the remaining work if it starts now. Rows follow one another from the start, else the scheduled start, else now. A row without an estimate takes no time.

Role: Staff. Errors: NOT_FOUND.';
grant execute on function public.get_project_schedule to authenticated;

select app.assert_grants();
commit;
