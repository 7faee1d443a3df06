-- V101 core: what every write to projects goes through, and what V125 and V127 build on.
--
-- Needs: M0 M1
--
-- Every write: the caller's role, then app.lock_project (or lock_row), then the row read again,
-- checked and written, then app.record_activity. Nobody calls settle_projects: triggers do.
-- Lock order: trees (by root, in id order), then everything else. All at READ COMMITTED.
--
-- Later layers replace, with the same signature:
--   app.has_status(project, status)      V125: the row selects this status; filters of lists ask it
--   app.lock_project_trees(uuid[])       V127: lock the roots, in id order
--   app.root_projects (view)             V127: without those that are somebody's child
--   app.project_rows (view)              V127: with the rows that are projects; same columns
--   app.is_archived(project)             V127: also what lies inside an archived project
--   app.settle_projects(uuid[])          V127: also the parent's row, whose own trigger climbs on
--   app.settle_rows, settle_changed_rows V127: keep sums of the rows, then settle
--   app.clone_rows(source, target)       V127: whole subtrees (V101_templates)
--   app.delete_project_tree(uuid)        V127: STILL_A_SUBPROJECT, links first (V101_projects)
--   public.delete_assignment(uuid)       V127: with the project inside (V101_rows)
-- and add instead of replace:
--   V125: a trigger before insert on projects, when created_from_template_uuid is not null, that
--         copies its own columns from the template; a trigger on started_at that cements.
--   V127: statement triggers on project_tasks (estimates) and projects (counts_weekends) that
--         settle; a trigger that keeps child_project_uuid; its own duration and progress checks.
--   Both: what on delete restrict raises is restrict_violation since Postgres 18, not
--         foreign_key_violation.
-- Reads return to_jsonb of the row and more, so that columns added later appear by themselves.

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
create or replace function app.lock_project_trees(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function app.lock_project_trees is
'Lock these projects, in id order: one writer at a time. Look at them only after it, in a statement of its own.';

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
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return p_project.archived_at is not null;
end;
$$;
comment on function app.is_archived is
'Whether a project is out of the lists.';

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

create or replace function app.has_status(p_project public.projects, p_status text)
returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select p_status is null;
$$;
comment on function app.has_status is
'Whether the project has this status selected; null: none. Here none ever has.';

-- Functions, internal: what follows from a write
create or replace function app.settle_projects(p_projects uuid[])
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function app.settle_projects is
'Complete the projects whose rows are all done, and reopen those with a row that is not. One without rows stays as it is.';

create or replace function app.settle_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.settle_projects(array(select distinct rows.project_uuid from rows));
  return null;
end;
$$;
comment on function app.settle_rows is
'Trigger: rows added or removed settle their projects, in the same transaction.';

create or replace function app.settle_changed_rows()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function app.settle_changed_rows is
'Trigger: rows that are further, or estimated otherwise, settle their projects, in the same transaction.';

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

select app.assert_grants();

commit;
