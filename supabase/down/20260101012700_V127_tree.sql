-- Takes away what the migration of this name creates, and puts back what it replaced.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.check_subprojects, app.roll_up, app.recount_changed_tasks, app.recount_changed_projects cascade;
do $$
declare
  v_row record;
begin
  if to_regclass('public.project_assignments') is null then
    return; -- all of it is gone already
  end if;
  select rows.uuid, rows.project_uuid into v_row
  from public.project_assignments as rows
  where to_jsonb(rows) ->> 'child_project_uuid' is not null
  limit 1;
  if found then
    raise exception 'Row % of project % is a sub-project: detach every one first.',
      v_row.uuid, v_row.project_uuid;
  end if;

  -- first what can fail
  alter table public.project_assignments alter column task_uuid set not null;
  if not exists (
    select from pg_constraint where conname = 'project_assignments_progress_check'
  ) then
    alter table public.project_assignments
    add constraint project_assignments_duration_check check (estimated_duration > 0),
    add constraint project_assignments_progress_check check (
      case status
        when 'done' then progress_pct = 100 and completed_at is not null
        when 'todo' then progress_pct = 0 and completed_at is null
        else progress_pct between 0 and 99 and completed_at is null
      end
    );
  end if;

create or replace function app.lock_project_trees(p_projects uuid[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $body$
begin
  -- later the snapshot would be older than the lock, and a check after it would see the past
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'Projects are written at READ COMMITTED only.'
    using errcode = 'feature_not_supported';
  end if;
  perform from public.projects as projects
  where projects.uuid = any(p_projects)
  order by projects.uuid
  for no key update;
end;
$body$;
comment on function app.lock_project_trees(uuid[]) is
'Lock these projects, in id order: one writer at a time. Look at them only after it, in a statement of its own.';

create or replace view app.root_projects
with (security_invoker = true)
as
select projects.uuid
from public.projects as projects;
comment on view app.root_projects is
'The projects that stand in lists, counts and buckets: all of them.';

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
  tasks.title,
  tasks.translations as title_translations,
  'title' as title_field,
  true as counted,
  estimates.hours * case when estimates.counts_weekends then 1 else 3 end as clock_hours
from public.project_assignments as assignments
inner join public.projects as projects on assignments.project_uuid = projects.uuid
inner join public.project_tasks as tasks on assignments.task_uuid = tasks.uuid
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
'Rows with the label, the hours and the mode in force. Counted: it takes part in the progress. Clock hours add up across modes: an hour of work takes three of the clock.';

create or replace view app.project_summaries
with (security_invoker = true)
as
select
  rows.project_uuid,
  count(*) as total,
  count(*) filter (where rows.status = 'done') as done,
  count(*) filter (where rows.status = 'in_progress') as in_progress,
  count(*) filter (where not rows.counted) as empty,
  coalesce(round(avg(rows.progress_pct) filter (where rows.counted)), 0)::integer as progress_pct,
  trim_scale(sum(rows.clock_hours) / case when projects.counts_weekends then 1 else 3 end) as hours
from app.project_rows as rows
inner join public.projects as projects on rows.project_uuid = projects.uuid
group by rows.project_uuid, projects.counts_weekends;
comment on view app.project_summaries is
'What the rows of a project come to; a project without rows has no line. The only formula of progress there is. Hours are those of the project''s own mode.';

create or replace function app.is_archived(p_project public.projects)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $body$
begin
  return p_project.archived_at is not null;
end;
$body$;
comment on function app.is_archived(public.projects) is
'Whether a project is out of the lists.';

create or replace function app.settle_projects(p_projects uuid[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $body$
declare
  v_change record;
begin
  perform app.lock_project_trees(p_projects); -- before counting, so that nobody counts the past
  for v_change in
    update public.projects as projects
    set completed_at = case when counted.all_done then app.now() end
    from (
      select rows.project_uuid, bool_and(rows.status = 'done') as all_done
      from public.project_assignments as rows
      where rows.project_uuid = any(p_projects)
      group by rows.project_uuid
    ) as counted
    where projects.uuid = counted.project_uuid
    and not projects.is_template
    and counted.all_done <> (projects.completed_at is not null)
    returning projects.uuid, projects.name, counted.all_done
  loop
    perform app.record_activity(
      case when v_change.all_done then 'project_completed' else 'project_reopened' end,
      'project', v_change.uuid, jsonb_build_object('name', v_change.name), p_mode => 'auto'
    );
  end loop;
end;
$body$;
comment on function app.settle_projects(uuid[]) is
'Complete the projects whose rows are all done, and reopen those with a row that is not. One without rows stays as it is.';

create or replace function app.settle_rows()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
  perform app.settle_projects(array(select distinct rows.project_uuid from rows));
  return null;
end;
$body$;
comment on function app.settle_rows() is
'Trigger: rows added or removed settle their projects, in the same transaction.';

create or replace function app.settle_changed_rows()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
  v_projects uuid[] := array(
    select distinct made.project_uuid
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
begin
  if v_projects <> '{}' then
    perform app.settle_projects(v_projects);
  end if;
  return null;
end;
$body$;
comment on function app.settle_changed_rows() is
'Trigger: rows that are further, or estimated otherwise, settle their projects, in the same transaction.';

  drop trigger if exists project_assignments_keep_child on public.project_assignments;
  alter table public.project_assignments
  drop constraint if exists project_assignments_estimate_check,
  drop constraint if exists project_assignments_slider_check,
  drop column if exists child_project_uuid; -- with its constraints and indexes
  drop function if exists app.add_up;
  if to_regclass('app.error_codes') is not null then
    delete from app.error_codes as codes
    where codes.code in (
      'ALREADY_SUBPROJECT', 'KIND_MISMATCH', 'SELF_LINK', 'STILL_A_SUBPROJECT', 'SUBPROJECT_ROW',
      'TOO_DEEP'
    );
  end if;
end;
$$;
drop function if exists app.recount_projects, app.project_lineage, app.lock_forest;
drop table if exists app.project_sums;

commit;
