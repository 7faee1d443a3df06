-- V101 progress: hours, sums, completion, and the roll-up of sub-projects.
-- Needs: M0 M1
--
-- Every write of rows fires triggers. app.apply_row_changes adds the difference to the sums of the
-- project. app.update_completion completes or reopens the project. It also updates the row of this
-- project in the outer project, so the triggers fire again one level up. The roll-up stops at the
-- first level that does not change. Its cost depends on the levels, not on the number of rows.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

insert into app.error_codes (code, sqlstate, meaning)
values
('SUBPROJECT_ROW', 'PT409', 'The row is a sub-project, whose progress comes from its own rows.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

create table if not exists app.project_sums (
  project_uuid uuid primary key references public.projects (uuid) on delete cascade,
  total bigint not null default 0,
  done bigint not null default 0,
  in_progress bigint not null default 0,
  empty bigint not null default 0,
  progress bigint not null default 0,
  clock_hours numeric not null default 0,
  constraint project_sums_check check (
    done >= 0 and in_progress >= 0 and done + in_progress <= total
    and empty between 0 and total and progress between 0 and 100 * (total - empty)
    and clock_hours >= 0
  )
) with (fillfactor = 80);
alter table app.project_sums enable row level security;
comment on table app.project_sums is
'The sums over the rows of each project, kept by app.apply_row_changes. Without them, reads would add up all rows of app.project_rows.';
comment on column app.project_sums.empty is
'The number of rows that are sub-projects without rows. Such a row counts in total and nowhere else.';

create or replace function app.duration_hours(
  p_amount numeric, p_unit text, p_counts_weekends boolean
)
returns numeric
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(case
    when p_unit = 'minutes' then trim_scale(p_amount / 60)
    when p_unit = 'hours' then p_amount
    when p_counts_weekends then p_amount * case p_unit
      when 'days' then 24 when 'weeks' then 168 when 'fortnights' then 336
      when 'months' then 720 when 'years' then 8760
    end
    else p_amount * case p_unit
      when 'days' then 8 when 'weeks' then 40 when 'fortnights' then 80
      when 'months' then 160 when 'years' then 1920
    end
  end, 0);
end;
$$;
comment on function app.duration_hours is
'Converts an estimate to hours. Counts calendar hours if weekends count, otherwise hours of work. Returns 0 without amount or unit.';

create or replace function app.row_hours(
  p_amount numeric, p_unit text, p_task_amount numeric, p_task_unit text, p_counts_weekends boolean
)
returns numeric
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_amount is not null and p_unit is not null
      then app.duration_hours(p_amount, p_unit, p_counts_weekends)
    else app.duration_hours(p_task_amount, p_task_unit, p_counts_weekends)
  end;
end;
$$;
comment on function app.row_hours is
'Returns the hours of a row. Uses the estimate of the row if it has amount and unit, otherwise the estimate of its task.';

create or replace view app.project_rows
with (security_invoker = true)
as
select
  assignments.project_uuid,
  assignments.uuid as row_uuid,
  assignments.position,
  assignments.status,
  assignments.progress_pct,
  estimates.counts_weekends,
  estimates.hours,
  coalesce(children.name, tasks.title) as title,
  coalesce(children.translations, tasks.translations) as title_translations,
  case when assignments.task_uuid is null then 'name' else 'title' end as title_field,
  assignments.task_uuid is not null or assignments.estimated_duration is not null as counted,
  estimates.hours * case when estimates.counts_weekends then 1 else 3 end as clock_hours
from public.project_assignments as assignments
inner join public.projects as projects on assignments.project_uuid = projects.uuid
left join public.project_tasks as tasks on assignments.task_uuid = tasks.uuid
left join public.projects as children on assignments.child_project_uuid = children.uuid
cross join lateral (
  select
    modes.counts_weekends,
    app.row_hours(
      assignments.estimated_duration, assignments.estimated_duration_unit,
      tasks.estimated_duration, tasks.estimated_duration_unit, modes.counts_weekends
    ) as hours
  from (
    select coalesce(assignments.counts_weekends, projects.counts_weekends) as counts_weekends
  ) as modes
) as estimates;
comment on view app.project_rows is
'Rows with title, hours and weekend mode. counted is false for a sub-project without rows. An hour of work takes three clock hours.';

create or replace view app.project_summaries
with (security_invoker = true)
as
select
  sums.project_uuid,
  sums.total,
  sums.done,
  sums.in_progress,
  sums.empty,
  coalesce(round(sums.progress / nullif(sums.total - sums.empty, 0)::numeric), 0)::integer
    as progress_pct,
  trim_scale(sums.clock_hours / case when projects.counts_weekends then 1 else 3 end) as hours
from app.project_sums as sums
inner join public.projects as projects on sums.project_uuid = projects.uuid
where sums.total > 0;
comment on view app.project_summaries is
'Total, progress and hours of each project that has rows. Progress is calculated nowhere else. Hours follow the weekend mode of the project.';

create or replace view app.project_counts
with (security_invoker = true)
as
select
  rows.project_uuid,
  count(*) as total,
  count(*) filter (where rows.status = 'done') as done,
  count(*) filter (where rows.status = 'in_progress') as in_progress,
  count(*) filter (where not rows.counted) as empty,
  coalesce(sum(rows.progress_pct) filter (where rows.counted), 0) as progress,
  sum(rows.clock_hours) as clock_hours
from app.project_rows as rows
group by rows.project_uuid;
comment on view app.project_counts is
'The sums of each project, calculated from all its rows. app.project_sums stores them.';

create or replace view app.subproject_values
with (security_invoker = true)
as
with states as (
  select
    projects.uuid,
    projects.counts_weekends,
    projects.completed_at,
    sums.progress_pct,
    sums.hours,
    case
      when projects.completed_at is not null then 'done'
      when sums.done + sums.in_progress > 0 then 'in_progress'
      else 'todo'
    end as status
  from public.projects as projects
  left join app.project_summaries as sums on projects.uuid = sums.project_uuid
)

select
  states.uuid as project_uuid,
  states.status,
  states.counts_weekends,
  states.completed_at,
  case states.status when 'done' then 100 else coalesce(states.progress_pct, 0) end as progress_pct,
  case when states.hours is not null then least(round(states.hours * 60), 2147483647)::integer end
    as estimated_duration
from states;
comment on view app.subproject_values is
'The values of a row that stands for this project. The estimate is in minutes, and null without rows.';

create or replace function app.derive_subproject_row()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_child record;
begin
  if tg_op = 'UPDATE' and (
    new.status, new.progress_pct, new.estimated_duration, new.estimated_duration_unit,
    new.counts_weekends, new.track_progress, new.completed_at, new.completed_by_uuid
  ) is distinct from (
    old.status, old.progress_pct, old.estimated_duration, old.estimated_duration_unit,
    old.counts_weekends, old.track_progress, old.completed_at, old.completed_by_uuid
  ) then
    perform app.fail(
      'SUBPROJECT_ROW', 'The row is a sub-project. Change the rows inside it instead.',
      jsonb_build_object('row_uuid', new.uuid, 'child_project_uuid', new.child_project_uuid)
    );
  end if;
  select
    child.status, child.progress_pct, child.estimated_duration, child.counts_weekends,
    child.completed_at
  into v_child
  from app.subproject_values as child
  where child.project_uuid = new.child_project_uuid;
  new.status := v_child.status;
  new.progress_pct := v_child.progress_pct;
  new.estimated_duration := v_child.estimated_duration;
  new.estimated_duration_unit := 'minutes';
  new.counts_weekends := v_child.counts_weekends;
  new.track_progress := true;
  new.completed_at := v_child.completed_at;
  new.completed_by_uuid := null;
  if tg_op = 'UPDATE' and new is not distinct from old then
    return null; -- unchanged, so the roll-up stops here
  end if;
  return new;
end;
$$;
comment on function app.derive_subproject_row is
'Trigger: copies status, progress and hours from a sub-project to its row. Raises SUBPROJECT_ROW if a caller tries to set them.';

create or replace function app.update_completion(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise every call makes a new plan
as $$
declare
  v_change record;
begin
  for v_change in
    update public.projects as projects
    set completed_at = case when sums.done = sums.total then app.now() end
    from app.project_sums as sums
    where projects.uuid = any(p_projects)
    and sums.project_uuid = projects.uuid
    and sums.total > 0
    and not projects.is_template
    and (sums.done = sums.total) <> (projects.completed_at is not null)
    returning projects.uuid, projects.name, projects.completed_at
  loop
    perform app.record_activity(
      case when v_change.completed_at is null then 'project_reopened' else 'project_completed' end,
      'project', v_change.uuid, jsonb_build_object('name', v_change.name), p_mode => 'auto'
    );
  end loop;
  update public.project_assignments as links
  set child_project_uuid = links.child_project_uuid -- fires the trigger that copies the rest
  where links.child_project_uuid = any(p_projects);
end;
$$;
comment on function app.update_completion is
'Completes projects whose rows are all done, and reopens projects with an open row. Then updates the rows that stand for these projects. Projects without rows stay unchanged.';

create or replace function app.apply_row_changes(
  p_made public.project_assignments[], p_gone public.project_assignments[]
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update app.project_sums as sums
  set
    total = sums.total + changes.total, done = sums.done + changes.done,
    in_progress = sums.in_progress + changes.in_progress, empty = sums.empty + changes.empty,
    progress = sums.progress + changes.progress,
    clock_hours = sums.clock_hours + changes.clock_hours
  from (
    select
      rows.project_uuid, sum(rows.sign) as total,
      sum(case rows.status when 'done' then rows.sign else 0 end) as done,
      sum(case rows.status when 'in_progress' then rows.sign else 0 end) as in_progress,
      sum(case when rows.counted then 0 else rows.sign end) as empty,
      sum(case when rows.counted then rows.sign * rows.progress_pct else 0 end) as progress,
      sum(
        rows.sign * case when rows.counts_weekends then 1 else 3 end * app.row_hours(
          rows.estimated_duration, rows.estimated_duration_unit,
          rows.task_duration, rows.task_duration_unit, rows.counts_weekends
        )
      ) as clock_hours
    from (
      select
        changed.sign, changed.project_uuid, changed.status, changed.progress_pct,
        changed.estimated_duration, changed.estimated_duration_unit,
        tasks.estimated_duration as task_duration,
        tasks.estimated_duration_unit as task_duration_unit,
        changed.task_uuid is not null or changed.estimated_duration is not null as counted,
        coalesce(changed.counts_weekends, (
          select projects.counts_weekends
          from public.projects as projects where projects.uuid = changed.project_uuid
        )) as counts_weekends
      from (
        select
          1 as sign, made.project_uuid, made.task_uuid, made.status, made.progress_pct,
          made.estimated_duration, made.estimated_duration_unit, made.counts_weekends
        from unnest(p_made) as made
        union all
        select
          -1, gone.project_uuid, gone.task_uuid, gone.status, gone.progress_pct,
          gone.estimated_duration, gone.estimated_duration_unit, gone.counts_weekends
        from unnest(p_gone) as gone
      ) as changed
      left join public.project_tasks as tasks on changed.task_uuid = tasks.uuid
    ) as rows
    where rows.counts_weekends is not null -- null if the project was deleted too
    group by rows.project_uuid
  ) as changes
  where sums.project_uuid = changes.project_uuid;
end;
$$;
comment on function app.apply_row_changes is
'Adds new rows to the sums of their projects, and subtracts old ones.';

create or replace function app.update_completion_of_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows public.project_assignments[] := array(select rows::public.project_assignments from rows);
  v_projects uuid[] := array(select distinct rows.project_uuid from rows);
begin
  perform app.lock_project_trees(v_projects);
  if tg_op = 'INSERT' then
    insert into app.project_sums (project_uuid)
    select given.project_uuid from unnest(v_projects) as given (project_uuid)
    on conflict do nothing;
    perform app.apply_row_changes(v_rows, '{}');
  else
    perform app.apply_row_changes('{}', v_rows);
  end if;
  perform app.update_completion(v_projects);
  return null;
end;
$$;
comment on function app.update_completion_of_rows is
'Trigger: applies inserted or deleted rows to the sums and completion of their projects, under the lock of the tree.';

create or replace function app.update_completion_of_changed_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- otherwise every call makes a new plan
as $$
declare
  v_made public.project_assignments[] := array(
    select made::public.project_assignments
    from made
    inner join gone on gone.uuid = made.uuid
    where (
      gone.status, gone.progress_pct, gone.estimated_duration, gone.estimated_duration_unit,
      gone.counts_weekends
    ) is distinct from (
      made.status, made.progress_pct, made.estimated_duration, made.estimated_duration_unit,
      made.counts_weekends
    )
  );
  v_tasks uuid[];
begin
  if v_made = '{}' then
    return null;
  end if;
  v_tasks := array(
    select distinct made.project_uuid from unnest(v_made) as made where made.task_uuid is not null
  );
  if v_tasks <> '{}' then -- the level below already holds the lock for sub-projects
    perform app.lock_project_trees(v_tasks);
  end if;
  perform app.apply_row_changes(v_made, array(
    select gone::public.project_assignments
    from gone
    where gone.uuid in (select made.uuid from unnest(v_made) as made)
  ));
  perform app.update_completion(array(select distinct made.project_uuid from unnest(v_made) as made));
  return null;
end;
$$;
comment on function app.update_completion_of_changed_rows is
'Trigger: applies changed rows to the sums and completion of their projects, under the lock of the tree.';

create or replace function app.recount_projects(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into app.project_sums as sums (
    project_uuid, total, done, in_progress, empty, progress, clock_hours
  )
  select
    counts.project_uuid, counts.total, counts.done, counts.in_progress, counts.empty,
    counts.progress, counts.clock_hours
  from app.project_counts as counts
  where counts.project_uuid = any(p_projects)
  on conflict (project_uuid) do update
    set
      total = excluded.total, done = excluded.done, in_progress = excluded.in_progress,
      empty = excluded.empty, progress = excluded.progress, clock_hours = excluded.clock_hours
    where sums is distinct from excluded;
  perform app.update_completion(p_projects);
end;
$$;
comment on function app.recount_projects is
'Calculates the sums of these projects again from all their rows. Used when the hours of rows change, but the rows do not.';

create or replace function app.recount_changed_tasks()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_tasks uuid[] := array(
    select made.uuid
    from made
    inner join gone on made.uuid = gone.uuid
    where (gone.estimated_duration, gone.estimated_duration_unit)
      is distinct from (made.estimated_duration, made.estimated_duration_unit)
  );
begin
  if v_tasks <> '{}' then
    -- Exclusive: this waits for inserts of rows that have already read the old estimate.
    perform app.lock_project_structure(true);
    perform app.recount_projects(array(
      select distinct rows.project_uuid
      from public.project_assignments as rows
      where rows.task_uuid = any(v_tasks)
      and (rows.estimated_duration is null or rows.estimated_duration_unit is null)
    ));
  end if;
  return null;
end;
$$;
comment on function app.recount_changed_tasks is
'Trigger: applies a new estimate of a task to every row without its own estimate, up to the roots.';

create or replace function app.recount_changed_projects()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.lock_project_trees(array[new.uuid]);
  perform app.recount_projects(array[new.uuid]);
  return null;
end;
$$;
comment on function app.recount_changed_projects is
'Trigger: when counts_weekends changes, calculates the hours of the project and of every outer project again.';

create or replace trigger project_assignments_roll_up
before insert or update on public.project_assignments
for each row when (new.child_project_uuid is not null)
execute function app.derive_subproject_row();
create or replace trigger project_assignments_completion_insert
after insert on public.project_assignments referencing new table as rows
for each statement execute function app.update_completion_of_rows();
create or replace trigger project_assignments_completion_update
after update on public.project_assignments referencing old table as gone new table as made
for each statement execute function app.update_completion_of_changed_rows();
create or replace trigger project_assignments_completion_delete
after delete on public.project_assignments referencing old table as rows
for each statement execute function app.update_completion_of_rows();
create or replace trigger project_tasks_recount after update on public.project_tasks
referencing old table as gone new table as made
for each statement execute function app.recount_changed_tasks();
create or replace trigger projects_recount after update on public.projects
for each row when (old.counts_weekends <> new.counts_weekends)
execute function app.recount_changed_projects();

select app.assert_grants();
commit;
