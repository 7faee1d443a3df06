-- V127 tree: projects inside projects, and what the inner ones come to, up to the root.
--
-- Replaces: app.lock_project_trees, app.root_projects, app.project_rows,
--           app.project_summaries, app.is_archived, app.settle_projects, app.settle_rows,
--           app.settle_changed_rows
-- Needs: M0 M1 V101
--
-- A row is a task or a sub-project. What stands on a sub-project's row is worked out by the
-- trigger app.roll_up alone; whoever writes something else there is refused. Every write of rows
-- ends the same way: app.add_up adds the difference to the sums of the project, app.settle_projects
-- completes or reopens it and touches the row it is on its parent, and that is a write of rows.
-- So a change costs one step a level, however many rows stand beside it, and stops where nothing
-- changes.
--
-- Locks, in this order: the forest, shared by every writer and held alone by those that change
-- which root a project has (link, detach) or what a task of the library takes; the roots, by id;
-- then rows. So whoever has found a root keeps it, and nobody waits for one who waits for him.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Tables
insert into app.error_codes (code, sqlstate, meaning)
values
('ALREADY_SUBPROJECT', 'PT409', 'The project lies inside another already: detach it there first.'),
('KIND_MISMATCH', 'PT409', 'Templates hold templates, projects hold projects.'),
('SELF_LINK', 'PT400', 'A project cannot lie inside itself.'),
('STILL_A_SUBPROJECT', 'PT409', 'The project lies inside another: detach it, or delete its row.'),
('SUBPROJECT_ROW', 'PT409', 'The row is a sub-project: how far it is, its own rows decide.'),
('TOO_DEEP', 'PT409', 'No more than 32 projects inside one another.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

alter table public.project_assignments
add column if not exists child_project_uuid uuid
constraint project_assignments_child_project_fkey
references public.projects (uuid) on delete restrict;
alter table public.project_assignments alter column task_uuid drop not null;
create unique index if not exists project_assignments_child_project_key
on public.project_assignments (child_project_uuid)
where child_project_uuid is not null;
create index if not exists project_assignments_subprojects_idx
on public.project_assignments (project_uuid)
where child_project_uuid is not null;
comment on column public.project_assignments.child_project_uuid is
'The sub-project that this row is. Status, slider, estimate and completion then are what its own rows come to; no estimate: it has none.';

do $$
begin
  if not exists (
    select from pg_constraint where conname = 'project_assignments_task_xor_child_check'
  ) then
    alter table public.project_assignments
    drop constraint project_assignments_duration_check,
    drop constraint project_assignments_progress_check,
    add constraint project_assignments_task_xor_child_check
    check (num_nonnulls(task_uuid, child_project_uuid) = 1),
    add constraint project_assignments_self_check check (child_project_uuid <> project_uuid),
    add constraint project_assignments_estimate_check
    check (estimated_duration >= case when child_project_uuid is null then 1 else 0 end),
    -- a sub-project is open at 100 while an empty one inside it keeps it from completion
    add constraint project_assignments_slider_check check (
      case status
        when 'done' then progress_pct = 100 and completed_at is not null
        when 'todo' then progress_pct = 0 and completed_at is null
        else progress_pct between 0 and case when child_project_uuid is null then 99 else 100 end
        and completed_at is null
      end
    );
  end if;
end;
$$;

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
'What the rows of each project add up to, kept by app.add_up: what app.project_rows would say, without reading them.';
comment on column app.project_sums.empty is
'Rows that are sub-projects without rows: they count in total alone.';

-- Functions, internal: locks
create or replace function app.lock_forest(p_alone boolean)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  c_key constant bigint := hashtextextended('public.project_assignments.child_project_uuid', 0);
begin
  -- later the snapshot would be older than the lock, and a check after it would see the past
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'Projects are written at READ COMMITTED only.'
    using errcode = 'feature_not_supported';
  end if;
  if p_alone then
    perform pg_advisory_xact_lock(c_key);
  else
    perform pg_advisory_xact_lock_shared(c_key);
  end if;
end;
$$;
comment on function app.lock_forest is
'Keep which project lies inside which as it is, and what tasks take. Alone: to change that.';

create or replace function app.lock_project_trees(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_uuid uuid;
  v_parent uuid;
  v_roots uuid[] := array[]::uuid[];
begin
  perform app.lock_forest(false);
  foreach v_uuid in array p_projects loop
    for v_level in 1..32 loop
      v_parent := (
        select links.project_uuid from public.project_assignments as links
        where links.child_project_uuid = v_uuid
      );
      exit when v_parent is null;
      v_uuid := v_parent;
    end loop;
    v_roots := v_roots || v_uuid;
  end loop;
  perform from public.projects as projects
  where projects.uuid = any(v_roots)
  order by projects.uuid
  for no key update;
end;
$$;
comment on function app.lock_project_trees is
'Lock the trees these projects lie in, by their roots in id order: one writer at a time. Look at them only after it, in a statement of its own.';

-- Functions, internal: who lies inside whom
create or replace function app.project_lineage(p_project_uuid uuid)
returns table (project_uuid uuid, distance integer)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with recursive climbed (project_uuid, distance) as (
    select p_project_uuid, 0
    union all
    select links.project_uuid, climbed.distance + 1
    from climbed
    inner join public.project_assignments as links
      on links.child_project_uuid = climbed.project_uuid
  )
  select climbed.project_uuid, climbed.distance from climbed;
end;
$$;
comment on function app.project_lineage is
'A project and what it lies inside, up to the root.';

create or replace function app.is_archived(p_project public.projects)
returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return p_project.archived_at is not null or exists (
    select from app.project_lineage(p_project.uuid) as lineage
    inner join public.projects as projects on lineage.project_uuid = projects.uuid
    where projects.archived_at is not null
  );
end;
$$;
comment on function app.is_archived is
'Whether a project is out of the lists, by itself or with one that it lies inside.';

create or replace function app.check_subprojects()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_cycle boolean;
  v_levels integer;
begin
  if not exists (select from made where made.child_project_uuid is not null) then
    return null;
  end if;
  -- the child was a root until now: two who write by hand may deadlock here, but make no cycle
  perform from public.projects as projects
  where projects.uuid in (select made.child_project_uuid from made)
  order by projects.uuid
  for no key update;
  perform app.lock_project_trees(array(
    select made.project_uuid from made where made.child_project_uuid is not null
  ));
  if exists (
    select from made
    inner join public.projects as parents on made.project_uuid = parents.uuid
    inner join public.projects as children on made.child_project_uuid = children.uuid
    where parents.is_template <> children.is_template
  ) then
    perform app.fail('KIND_MISMATCH', 'Templates hold templates, projects hold projects.');
  end if;
  with recursive climbed (child_uuid, project_uuid, distance) as (
    select made.child_project_uuid, made.project_uuid, 1 from made
    where made.child_project_uuid is not null
    union all
    select climbed.child_uuid, links.project_uuid, climbed.distance + 1
    from climbed
    inner join public.project_assignments as links
      on links.child_project_uuid = climbed.project_uuid
    where climbed.project_uuid <> climbed.child_uuid and climbed.distance <= 32
  ),
  sunk (child_uuid, project_uuid, distance) as (
    select made.child_project_uuid, made.child_project_uuid, 1 from made
    where made.child_project_uuid is not null
    union all
    select sunk.child_uuid, links.child_project_uuid, sunk.distance + 1
    from sunk
    inner join public.project_assignments as links
      on links.project_uuid = sunk.project_uuid and links.child_project_uuid is not null
    where sunk.distance <= 32
  )
  select bool_or(climbed.project_uuid = climbed.child_uuid), max(climbed.distance + sunk.distance)
  into v_cycle, v_levels
  from climbed
  inner join sunk on sunk.child_uuid = climbed.child_uuid;
  if v_cycle then
    perform app.fail('WOULD_CREATE_CYCLE', 'A project would come to lie inside itself.');
  end if;
  if v_levels > 32 then
    perform app.fail('TOO_DEEP', 'No more than 32 projects inside one another.');
  end if;
  return null;
end;
$$;
comment on function app.check_subprojects is
'Trigger: whoever puts a project into another keeps to one kind, no cycle and 32 levels. Raises KIND_MISMATCH, WOULD_CREATE_CYCLE and TOO_DEEP.';

-- Functions, internal: what rows come to
create or replace view app.root_projects
with (security_invoker = true)
as
select projects.uuid
from public.projects as projects
where not exists (
  select from public.project_assignments as links
  where links.child_project_uuid = projects.uuid
);
comment on view app.root_projects is
'The projects that stand in lists, counts and buckets: those that do not lie inside another.';

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
'Rows with the label, the hours and the mode in force; a sub-project''s are its own. Counted: it takes part in the progress, as an empty sub-project does not. Clock hours add up across modes: an hour of work takes three of the clock.';

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
'What the rows of a project come to; a project without rows has no line. The only formula of progress there is. Hours are those of the project''s own mode.';

create or replace function app.roll_up()
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
      'SUBPROJECT_ROW', 'The row is a sub-project: how far it is, its own rows decide.',
      jsonb_build_object('row_uuid', new.uuid, 'child_project_uuid', new.child_project_uuid)
    );
  end if;
  select
    projects.completed_at, projects.counts_weekends, sums.done, sums.in_progress,
    sums.progress_pct, sums.hours
  into v_child
  from public.projects as projects
  left join app.project_summaries as sums on sums.project_uuid = projects.uuid
  where projects.uuid = new.child_project_uuid;
  new.status := case
    when v_child.completed_at is not null then 'done'
    when v_child.done + v_child.in_progress > 0 then 'in_progress'
    else 'todo'
  end;
  new.progress_pct := case new.status when 'done' then 100 else coalesce(v_child.progress_pct, 0) end;
  new.estimated_duration := case -- null: it has no rows
    when v_child.hours is not null then least(round(v_child.hours * 60), 2147483647)
  end;
  new.estimated_duration_unit := 'minutes';
  new.counts_weekends := v_child.counts_weekends;
  new.track_progress := true;
  new.completed_at := v_child.completed_at;
  new.completed_by_uuid := null;
  if tg_op = 'UPDATE' and new is not distinct from old then
    return null; -- nothing to write, nothing to climb for
  end if;
  return new;
end;
$$;
comment on function app.roll_up is
'Trigger: the row of a sub-project says what the sub-project comes to, whoever writes the row. Raises SUBPROJECT_ROW to who would have it say anything else.';

create or replace function app.settle_projects(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- else each call plans anew, for the length of an array
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
  set child_project_uuid = links.child_project_uuid -- app.roll_up writes the rest
  where links.child_project_uuid = any(p_projects);
end;
$$;
comment on function app.settle_projects is
'Complete the projects whose rows are all done, reopen those with a row that is not, and roll them up into what they lie inside. One without rows stays as it is.';

create or replace function app.add_up(
  p_made public.project_assignments[], p_gone public.project_assignments[]
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update app.project_sums as sums
  set
    total = sums.total + changes.total,
    done = sums.done + changes.done,
    in_progress = sums.in_progress + changes.in_progress,
    empty = sums.empty + changes.empty,
    progress = sums.progress + changes.progress,
    clock_hours = sums.clock_hours + changes.clock_hours
  from (
    select
      rows.project_uuid,
      sum(rows.sign) as total,
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
        coalesce(
          changed.counts_weekends,
          (
            select projects.counts_weekends
            from public.projects as projects where projects.uuid = changed.project_uuid
          )
        ) as counts_weekends
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
    where rows.counts_weekends is not null -- else the project went with them
    group by rows.project_uuid
  ) as changes
  where sums.project_uuid = changes.project_uuid;
end;
$$;
comment on function app.add_up is
'Add rows that are there now to the sums of their projects, and take away those that are there no more.';

create or replace function app.settle_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows public.project_assignments[] := array(
    select rows::public.project_assignments from rows
  );
  v_projects uuid[] := array(select distinct rows.project_uuid from rows);
begin
  perform app.lock_project_trees(v_projects);
  if tg_op = 'INSERT' then
    insert into app.project_sums (project_uuid)
    select given.project_uuid from unnest(v_projects) as given (project_uuid)
    on conflict do nothing;
    perform app.add_up(v_rows, '{}');
  else
    perform app.add_up('{}', v_rows);
  end if;
  perform app.settle_projects(v_projects);
  return null;
end;
$$;
comment on function app.settle_rows is
'Trigger: rows added or removed change the sums of their projects and settle them, in the same transaction and under the lock of the tree.';

create or replace function app.settle_changed_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- else each call plans anew, for the length of an array
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
  if v_tasks <> '{}' then -- else it comes from further down, where the lock was taken
    perform app.lock_project_trees(v_tasks);
  end if;
  perform app.add_up(v_made, array(
    select gone::public.project_assignments
    from gone
    where gone.uuid in (select made.uuid from unnest(v_made) as made)
  ));
  perform app.settle_projects(array(select distinct made.project_uuid from unnest(v_made) as made));
  return null;
end;
$$;
comment on function app.settle_changed_rows is
'Trigger: rows that are further, or estimated otherwise, change the sums of their projects and settle them, in the same transaction and under the lock of the tree.';

create or replace function app.recount_projects(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into app.project_sums as sums (
    project_uuid, total, done, in_progress, empty, progress, clock_hours
  )
  select
    rows.project_uuid,
    count(*),
    count(*) filter (where rows.status = 'done'),
    count(*) filter (where rows.status = 'in_progress'),
    count(*) filter (where not rows.counted),
    coalesce(sum(rows.progress_pct) filter (where rows.counted), 0),
    sum(rows.clock_hours)
  from app.project_rows as rows
  where rows.project_uuid = any(p_projects)
  group by rows.project_uuid
  on conflict (project_uuid) do update
    set
      total = excluded.total, done = excluded.done, in_progress = excluded.in_progress,
      empty = excluded.empty, progress = excluded.progress, clock_hours = excluded.clock_hours
    where sums is distinct from excluded;
  perform app.settle_projects(p_projects);
end;
$$;
comment on function app.recount_projects is
'Add the rows of these projects up from scratch: for what changes how rows count, not the rows.';

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
    perform app.lock_forest(true); -- who adds rows for these tasks has read what they took
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
'Trigger: a new estimate in the library reaches every row that has none of its own, up to the roots.';

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
'Trigger: what counts weekends takes another time, and so does all that it lies inside.';

-- Triggers
create or replace trigger project_assignments_keep_child
before update on public.project_assignments
for each row
when (old.child_project_uuid is distinct from new.child_project_uuid)
execute function app.append_only();
create or replace trigger project_assignments_roll_up
before insert or update on public.project_assignments
for each row
when (new.child_project_uuid is not null)
execute function app.roll_up();
-- by name before project_assignments_settle_insert, which climbs what this lets pass
create or replace trigger project_assignments_check_subprojects
after insert on public.project_assignments
referencing new table as made
for each statement execute function app.check_subprojects();
create or replace trigger project_tasks_recount
after update on public.project_tasks
referencing old table as gone new table as made
for each statement execute function app.recount_changed_tasks();
create or replace trigger projects_recount
after update on public.projects
for each row
when (old.counts_weekends <> new.counts_weekends)
execute function app.recount_changed_projects();

select app.recount_projects(array(select projects.uuid from public.projects as projects));

select app.assert_grants();

commit;
