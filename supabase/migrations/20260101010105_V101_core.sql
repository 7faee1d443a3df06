-- V101 core: what every write to projects goes through.
--
-- Needs: M0 M1
--
-- Every write: the caller's role, then app.lock_project (or lock_row), then the row read again,
-- checked and written, then app.record_activity. Nobody calls settle_projects: triggers do.
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

-- Functions, internal: words
create or replace function app.translate(
  p_primary text, p_translations jsonb, p_field text, p_language text
)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_language is null or p_translations = '{}' then
    return p_primary;
  end if;
  if btrim(p_translations -> p_language ->> p_field) <> '' then -- as it mostly is, without a search
    return p_translations -> p_language ->> p_field;
  end if;
  return coalesce(
    (
      select texts.value ->> p_field
      from jsonb_each(p_translations) as texts
      where btrim(texts.value ->> p_field) <> ''
      and split_part(lower(texts.key), '-', 1) = split_part(lower(p_language), '-', 1)
      order by
        lower(texts.key) = lower(p_language) desc,
        lower(texts.key) = split_part(lower(p_language), '-', 1) desc,
        texts.key collate pg_catalog.ucs_basic
      limit 1
    ),
    p_primary
  );
end;
$$;
comment on function app.translate is
'What a field says in a language: that language exactly, else its base, else the first sibling by code, else the primary text. Blank counts as missing; null asks for the primary text.';

create or replace function app.slugify(p_text text, p_fallback text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  c_roman constant jsonb := '{
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i",
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i",
    "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t",
    "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y",
    "ь": "", "э": "e", "ю": "yu", "я": "ya", "є": "ye", "і": "i", "ґ": "g",
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i",
    "κ": "k", "λ": "l", "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s",
    "ς": "s", "τ": "t", "υ": "y", "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o"
  }'::jsonb;
  v_roman text := (
    select string_agg(coalesce(c_roman ->> letters.letter, letters.letter), '' order by letters.at)
    -- decomposed, so that an accent is a letter of its own, and dropped
    from string_to_table(
      regexp_replace(
        normalize(lower(left(p_text, 255)), nfkd), U&'[\0300-\036F]', '', 'g'
      ), null
    ) with ordinality as letters (letter, at)
  );
begin
  return coalesce(
    nullif(btrim(left(btrim(regexp_replace(v_roman, '[^a-z0-9]+', '-', 'g'), '-'), 200), '-'), ''),
    p_fallback
  );
end;
$$;
comment on function app.slugify is
'The slug of a title: lower case, romanised (Latin, Cyrillic, Greek), single hyphens; the fallback where nothing is left, as of an emoji.';

-- Functions, internal: what a caller hands in
create or replace function app.check_attrs(p_attrs jsonb, variadic p_allowed text[])
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_attrs) is distinct from 'object' then
    perform app.fail('BAD_INPUT', 'The attributes have to be an object.');
  end if;
  if p_attrs - p_allowed <> '{}' then
    perform app.fail('BAD_INPUT', 'There is no such attribute to set here.', jsonb_build_object(
      'unknown', (select jsonb_agg(names.name) from jsonb_object_keys(p_attrs - p_allowed) as names (name)),
      'allowed', p_allowed
    ));
  end if;
end;
$$;
comment on function app.check_attrs is
'Refuse what is no object, or has a key that is not allowed: nothing is dropped in silence. Raises BAD_INPUT.';

create or replace function app.refuse_row(p_sqlstate text, p_constraint text, p_message text)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    case p_sqlstate when '23505' then 'CONFLICT' else 'BAD_INPUT' end,
    case p_sqlstate when '23505' then 'That is taken already.' else 'That cannot be stored.' end,
    jsonb_build_object('constraint', nullif(p_constraint, ''), 'reason', p_message)
  );
end;
$$;
comment on function app.refuse_row is
'What a table refuses, as a refusal to the caller: CONFLICT for a duplicate, else BAD_INPUT.';

-- Functions, internal: the record of a write
create or replace function app.record_activity(
  p_event text, p_type text, p_uuid uuid, p_metadata jsonb default '{}',
  p_module text default 'projects', p_mode text default 'manual'
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.activities (
    action, module, mode, actor_uuid, resource_type, resource_uuid, metadata
  )
  values (
    p_module || '.' || p_event, p_module, p_mode, (app.actor()).user_id, p_type, p_uuid, p_metadata
  );
  perform app.emit(p_module, jsonb_strip_nulls(jsonb_build_object(
    'event', p_event, 'type', p_type, 'uuid', p_uuid, 'project_uuid', p_metadata -> 'project_uuid'
  )));
end;
$$;
comment on function app.record_activity is
'Write down what the caller is doing, and tell listeners once it is committed. Listeners get ids alone.';

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

create or replace function app.lock_project(p_project_uuid uuid)
returns public.projects
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  perform app.lock_project_trees(array[p_project_uuid]);
  select projects.* into v_project
  from public.projects as projects where projects.uuid = p_project_uuid;
  if not found then
    perform app.fail(
      'NOT_FOUND', 'No such project.', jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_project;
end;
$$;
comment on function app.lock_project is
'Lock a project for writing, and how it is now. Raises NOT_FOUND.';

create or replace function app.lock_row(p_row_uuid uuid)
returns public.project_assignments
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.project_assignments;
begin
  perform app.lock_project_trees(array(
    select rows.project_uuid from public.project_assignments as rows where rows.uuid = p_row_uuid
  ));
  select rows.* into v_row from public.project_assignments as rows where rows.uuid = p_row_uuid;
  if not found then
    perform app.fail('NOT_FOUND', 'No such row.', jsonb_build_object('row_uuid', p_row_uuid));
  end if;
  return v_row;
end;
$$;
comment on function app.lock_row is
'Lock the project of a row for writing, and how the row is now. Raises NOT_FOUND.';

create or replace function app.find_project(p_project_uuid uuid)
returns public.projects
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_project public.projects;
begin
  select projects.* into v_project
  from public.projects as projects where projects.uuid = p_project_uuid;
  if not found then
    perform app.fail(
      'NOT_FOUND', 'No such project.', jsonb_build_object('project_uuid', p_project_uuid)
    );
  end if;
  return v_project;
end;
$$;
comment on function app.find_project is 'A project, for reading. Raises NOT_FOUND.';

-- Functions, internal: what a row and a project amount to
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
'An estimate in hours: of work, or of the calendar where weekends count. Without amount or unit none.';

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
'The hours of a row: its own estimate where it has both amount and unit, else that of its task.';

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

create or replace function app.project_state(p_project public.projects)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when app.is_archived(p_project) then 'archived'
    when p_project.is_template then 'template'
    when p_project.completed_at is not null then 'completed'
    when p_project.started_at is not null then 'running'
    when p_project.start_mode <> 'scheduled' then 'setup'
    when p_project.scheduled_start_date < app.now() then 'overdue'
    else 'scheduled'
  end;
end;
$$;
comment on function app.project_state is
'Archived, template, completed, running, overdue, scheduled or setup: the first that fits.';

-- Functions, internal: what follows from a write
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

create or replace function app.forbid_cycles()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.lock_project_trees(array(select made.project_uuid from made));
  if exists (
    with recursive reached (origin, row_uuid, project_uuid) as (
      select made.assignment_uuid, made.depends_on_uuid, made.project_uuid from made
      union
      select reached.origin, edges.depends_on_uuid, edges.project_uuid
      from reached
      inner join public.project_dependencies as edges
        on edges.project_uuid = reached.project_uuid and edges.assignment_uuid = reached.row_uuid
    )
    select from reached where reached.row_uuid = reached.origin
  ) then
    perform app.fail('WOULD_CREATE_CYCLE', 'A row would come to wait for itself.');
  end if;
  return null;
end;
$$;
comment on function app.forbid_cycles is
'Trigger: no row waits for itself, however far around. Under the lock of the project.';

create or replace function app.forbid_task_cycles()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'Tasks are written at READ COMMITTED only.'
    using errcode = 'feature_not_supported';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('public.project_task_dependencies', 0));
  if exists (
    with recursive reached (origin, task_uuid) as (
      select made.task_uuid, made.depends_on_task_uuid from made
      union
      select reached.origin, edges.depends_on_task_uuid
      from reached
      inner join public.project_task_dependencies as edges on edges.task_uuid = reached.task_uuid
    )
    select from reached where reached.task_uuid = reached.origin
  ) then
    perform app.fail('WOULD_CREATE_CYCLE', 'A task would come to wait for itself.');
  end if;
  return null;
end;
$$;
comment on function app.forbid_task_cycles is
'Trigger: no task of the library waits for itself, however far around. One writer at a time.';

-- Functions, internal: places in an order
create or replace function app.check_order(p_uuids uuid[])
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
comment on function app.check_order is
'Refuse no list, and one that is too long, as it was sent: a client gone wrong. Raises BAD_INPUT.';

create or replace function app.check_strategy(p_strategy text)
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
comment on function app.check_strategy is
'Refuse what is no way to sort. Raises BAD_INPUT.';

create or replace function app.take_places(p_wanted uuid[], p_found uuid[], p_positions integer[])
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
comment on function app.take_places is
'Who gets which place when these take each other''s places in the order wanted. Whatever else is in the list keeps its own; of a double the last counts.';

-- Triggers
create or replace trigger project_assignments_settle_insert
after insert on public.project_assignments
referencing new table as rows
for each statement execute function app.settle_rows();
create or replace trigger project_assignments_settle_update
after update on public.project_assignments
referencing old table as gone new table as made
for each statement execute function app.settle_changed_rows();
create or replace trigger project_assignments_settle_delete
after delete on public.project_assignments
referencing old table as rows
for each statement execute function app.settle_rows();
create or replace trigger project_dependencies_forbid_cycles
after insert on public.project_dependencies
referencing new table as made
for each statement execute function app.forbid_cycles();
create or replace trigger project_task_dependencies_forbid_cycles
after insert on public.project_task_dependencies
referencing new table as made
for each statement execute function app.forbid_task_cycles();
-- An edge is added or removed, never turned.
create or replace trigger project_dependencies_keep
before update on public.project_dependencies
for each statement execute function app.append_only();
create or replace trigger project_task_dependencies_keep
before update on public.project_task_dependencies
for each statement execute function app.append_only();
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

select app.assert_grants();

commit;
