-- V101 books: that sums, completion and sub-projects agree with their rows.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.audit_project_sums()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    null,
    format(
      'project %s has other sums than its rows', coalesce(sums.project_uuid, counts.project_uuid)
    )
  from app.project_sums as sums
  full join app.project_counts as counts on counts.project_uuid = sums.project_uuid
  where (
    coalesce(sums.total, 0), coalesce(sums.done, 0), coalesce(sums.in_progress, 0),
    coalesce(sums.empty, 0), coalesce(sums.progress, 0), coalesce(sums.clock_hours, 0)
  ) <> (
    coalesce(counts.total, 0), coalesce(counts.done, 0), coalesce(counts.in_progress, 0),
    coalesce(counts.empty, 0), coalesce(counts.progress, 0), coalesce(counts.clock_hours, 0)
  );
$$;
comment on function app.audit_project_sums is
'Invariant: the stored sums of a project are the sums over its rows.';

create or replace function app.audit_project_completion()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    null,
    format(
      'project %s has %s of %s rows done, and is %s', projects.uuid, counts.done, counts.total,
      coalesce('complete since ' || projects.completed_at, 'not complete')
    )
  from public.projects as projects
  inner join app.project_counts as counts on counts.project_uuid = projects.uuid
  where not projects.is_template
  and (counts.done = counts.total) <> (projects.completed_at is not null);
$$;
comment on function app.audit_project_completion is
'Invariant: a project with rows is complete exactly if all its rows are done.';

create or replace function app.audit_subprojects()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select null, format('row %s has other values than its sub-project', links.uuid)
  from public.project_assignments as links
  inner join app.subproject_values as child on child.project_uuid = links.child_project_uuid
  where (
    links.status, links.progress_pct, links.estimated_duration, links.counts_weekends,
    links.completed_at
  ) is distinct from (
    child.status, child.progress_pct, child.estimated_duration, child.counts_weekends,
    child.completed_at
  );
$$;
comment on function app.audit_subprojects is
'Invariant: the row of a sub-project has the status, progress and estimate of the sub-project.';

create or replace function app.audit_project_trees()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with recursive reached (project_uuid, level) as (
    select roots.uuid, 1 from app.root_projects as roots
    union all
    select links.child_project_uuid, reached.level + 1
    from reached
    inner join public.project_assignments as links
      on links.project_uuid = reached.project_uuid and links.child_project_uuid is not null
    where reached.level < 32
  )
  select null, format('project %s lies in itself, or more than 32 levels deep', projects.uuid)
  from public.projects as projects
  where projects.uuid not in (select reached.project_uuid from reached)
  union all
  select null, format('project %s lies in a project of another kind', children.uuid)
  from public.project_assignments as links
  inner join public.projects as parents on parents.uuid = links.project_uuid
  inner join public.projects as children on children.uuid = links.child_project_uuid
  where parents.is_template <> children.is_template;
$$;
comment on function app.audit_project_trees is
'Invariant: a project lies in no circle, at most 32 levels deep, and only in a project of its kind.';

select app.register_invariant('project_sums', 'audit_project_sums');
select app.register_invariant('project_completion', 'audit_project_completion');
select app.register_invariant('subprojects', 'audit_subprojects');
select app.register_invariant('project_trees', 'audit_project_trees');

select app.assert_grants();
commit;
