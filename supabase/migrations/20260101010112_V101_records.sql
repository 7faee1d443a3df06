-- V101 records: the records of a list.
-- Needs: M0 M1
--
-- list_entities is in this file because it counts the records of each list.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.entity_data (
  uuid uuid primary key default gen_random_uuid(),
  entity_uuid uuid not null references public.entities (uuid) on delete cascade,
  title varchar(255) not null check (btrim(title) <> ''),
  slug public.slug not null,
  status varchar(20) not null default 'published'
  check (status in ('draft', 'published', 'archived', 'trashed')),
  data jsonb not null default '{}'
  check (jsonb_typeof(data) = 'object' and not data ? '_primary_language'),
  translations public.translations not null default '{}',
  position integer not null,
  created_by_uuid uuid references public.staff_shared (user_id) on delete set null,
  inserted_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  constraint entity_data_position_key
  exclude using btree (entity_uuid with =, position with =) deferrable
);
create unique index if not exists entity_data_slug_key on public.entity_data (entity_uuid, slug)
where status <> 'trashed';
create index if not exists entity_data_created_by_idx on public.entity_data (created_by_uuid);
alter table public.entity_data enable row level security;
comment on table public.entity_data is
'The records of the lists, such as the statuses of a list. Only published records can be chosen.';
comment on column public.entity_data.slug is
'Created from the title in the primary language. Never changes by itself, because selections name the slug.';
comment on column public.entity_data.data is
'A flat object: {"color": "#34d399"}. Texts in other languages belong in translations.';
comment on column public.entity_data.translations is '{"es-ES": {"title": "..."}}.';
grant select on table public.entity_data to authenticated;

create or replace view app.published_records
with (security_invoker = true)
as
select
  records.entity_uuid,
  records.uuid as record_uuid,
  records.title,
  records.slug,
  records.data,
  records.translations,
  records.position
from public.entity_data as records
inner join public.entities as entities on records.entity_uuid = entities.uuid
where records.status = 'published' and entities.status <> 'trashed';
comment on view app.published_records is
'The published records of lists that are not in the trash.';

create or replace function app.unused_name(p_name text, p_taken text[], p_hyphen text default '-')
returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select names.name
  from generate_series(1, cardinality(p_taken) + 1) as numbers (n)
  cross join lateral (
    select p_name || case when numbers.n > 1 then p_hyphen || numbers.n else '' end as name
  ) as names
  where names.name <> all(p_taken)
  order by numbers.n
  limit 1;
$$;
comment on function app.unused_name is
'Returns the name, or the first of name-2, name-3 and so on that is not taken.';

create or replace function app.lock_record(p_record_uuid uuid)
returns public.entity_data
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_record public.entity_data;
begin
  perform from public.entities as entities
  where entities.uuid = (
    select records.entity_uuid from public.entity_data as records
    where records.uuid = p_record_uuid
  )
  for no key update;
  select records.* into v_record
  from public.entity_data as records where records.uuid = p_record_uuid;
  if not found then
    perform app.not_found('record', 'record_uuid', p_record_uuid);
  end if;
  return v_record;
end;
$$;
comment on function app.lock_record is
'Locks the list of a record. Returns the record. Raises NOT_FOUND.';

create or replace function app.set_record_status(p_record_uuid uuid, p_status text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_record public.entity_data;
  v_moves boolean;
begin
  perform app.require_catalog('Admin');
  v_record := app.lock_record(p_record_uuid);
  v_moves := (v_record.status = 'trashed') <> (p_status = 'trashed');
  if v_moves then
    update public.entity_data as records set status = p_status
    where records.uuid = p_record_uuid
    returning records.* into v_record;
    perform app.record_activity(
      case p_status when 'trashed' then 'entity_data_trashed' else 'entity_data_restored' end,
      'entity_data', p_record_uuid,
      jsonb_build_object('entity_uuid', v_record.entity_uuid, 'title', v_record.title), 'entities'
    );
  end if;
  return to_jsonb(v_record) || jsonb_build_object('already_done', not v_moves);
exception
  when unique_violation then
    perform app.fail(
      'CONFLICT', 'Another record has taken this slug. Change that slug first.',
      jsonb_build_object('slug', v_record.slug)
    );
    return null;
end;
$$;
comment on function app.set_record_status is
'Trashes or restores a record, for Admins. Raises NOT_FOUND, CATALOG_UNAVAILABLE, and CONFLICT when another record has taken the slug.';

create or replace function public.list_entities(
  p_status text default null, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select to_jsonb(entities) || jsonb_build_object(
    'label',
    app.translate(entities.display_name, entities.translations, 'display_name', p_language),
    'records', (
      select count(*) from app.published_records as records
      where records.entity_uuid = entities.uuid
    )
  )
  from public.entities as entities
  where app.catalog_on()
  and case when p_status is null then entities.status <> 'trashed' else entities.status = p_status end
  order by entities.position;
end;
$$;
comment on function public.list_entities is
'Lists the lists of the catalog.

Returns every list with its label in the given language and the number of its published records. Trashed lists are omitted unless p_status asks for them. Returns nothing while the catalog is off.

Role: Staff.';
grant execute on function public.list_entities to authenticated;

create or replace function public.list_entity_data(
  p_entity_uuid uuid, p_status text default null, p_language text default null
)
returns setof jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff');
  return query
  select to_jsonb(records) || jsonb_build_object(
    'label', app.translate(records.title, records.translations, 'title', p_language)
  )
  from public.entity_data as records
  where app.catalog_on() and records.entity_uuid = p_entity_uuid
  and case when p_status is null then records.status <> 'trashed' else records.status = p_status end
  order by records.position;
end;
$$;
comment on function public.list_entity_data is
'Lists the records of a list.

Returns every record with its label in the given language. Trashed records are omitted unless p_status asks for them. Returns nothing while the catalog is off.

Role: Staff.';
grant execute on function public.list_entity_data to authenticated;

create or replace function app.write_record(
  p_entity_uuid uuid, p_record_uuid uuid, p_attrs jsonb
)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.entity_data;
  v_new public.entity_data;
  v_position integer;
  v_slugs text[];
  v_constraint text;
begin
  if p_record_uuid is null then
    perform app.lock_entity(p_entity_uuid);
    select coalesce(max(records.position), 0) + 1, coalesce(array_agg(records.slug::text), '{}')
    into v_position, v_slugs
    from public.entity_data as records where records.entity_uuid = p_entity_uuid;
    insert into public.entity_data (entity_uuid, title, slug, position, created_by_uuid)
    values (
      p_entity_uuid, app.clean_name(p_attrs ->> 'title'),
      case
        when p_attrs ? 'slug' then p_attrs ->> 'slug'
        else app.unused_name(app.slugify(p_attrs ->> 'title', 'item-' || v_position), v_slugs)
      end,
      v_position, (app.actor()).user_id
    )
    returning entity_data.* into v_old;
  else
    v_old := app.lock_record(p_record_uuid);
  end if;
  v_new := jsonb_populate_record(v_old, p_attrs);
  v_new.title := app.clean_name(v_new.title);
  if (v_old.status = 'trashed') <> (v_new.status = 'trashed') then
    perform app.fail('BAD_INPUT', 'Use trash_entity_data or restore_entity_data for the trash.');
  end if;
  if p_record_uuid is null or v_new is distinct from v_old then
    update public.entity_data as records
    set
      title = v_new.title, slug = v_new.slug, status = v_new.status, data = v_new.data,
      translations = v_new.translations
    where records.uuid = v_old.uuid
    returning records.* into v_new;
    perform app.record_activity(
      case when p_record_uuid is null then 'entity_data_created' else 'entity_data_updated' end,
      'entity_data', v_new.uuid,
      jsonb_build_object('entity_uuid', v_new.entity_uuid, 'title', v_new.title), 'entities'
    );
  end if;
  return to_jsonb(v_new);
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics v_constraint = constraint_name;
    return app.fail_constraint(sqlstate, v_constraint, sqlerrm);
end;
$$;
comment on function app.write_record is
'Writes the attributes of a record. Creates the record first, at the end of its list, if no record is given. Raises NOT_FOUND, BAD_INPUT and CONFLICT.';

create or replace function public.create_entity_data(
  p_entity_uuid uuid, p_title text, p_attrs jsonb default '{}'
)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Supervisor');
  perform app.check_attrs(p_attrs, 'slug', 'status', 'data', 'translations');
  return app.write_record(p_entity_uuid, null, p_attrs || jsonb_build_object('title', p_title));
end;
$$;
comment on function public.create_entity_data is
'Creates a record at the end of a list.

Attributes: slug, status (draft, published, archived), data (an object, such as {"color": "#34d399"}), translations ({"es": {"title": "..."}}). Without a slug, the title becomes the slug. If that slug is taken, -2, -3 and so on is added.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the slug is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.create_entity_data to authenticated;

create or replace function public.update_entity_data(p_record_uuid uuid, p_attrs jsonb)
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require_catalog('Supervisor');
  perform app.check_attrs(p_attrs, 'title', 'slug', 'status', 'data', 'translations');
  return app.write_record(null, p_record_uuid, p_attrs);
end;
$$;
comment on function public.update_entity_data is
'Changes a record.

Attributes: title, and those of create_entity_data. A new title does not change the slug. An attribute that is left out keeps its value.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT, CONFLICT (the slug is taken), CATALOG_UNAVAILABLE.';
grant execute on function public.update_entity_data to authenticated;

create or replace function public.reorder_entity_data(p_entity_uuid uuid, p_uuids uuid[])
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_records app.placed[];
begin
  perform app.require_catalog('Supervisor');
  perform app.check_id_list(p_uuids);
  perform app.lock_entity(p_entity_uuid);
  if exists (
    select from public.entity_data as records
    where records.uuid = any(p_uuids) and records.entity_uuid <> p_entity_uuid
  ) then
    perform app.fail(
      'BAD_INPUT', 'A record belongs to another list. Pass records of this list only.'
    );
  end if;
  v_records := array(
    select row(records.uuid, records.position)::app.placed
    from public.entity_data as records
    where records.uuid = any(p_uuids)
  );
  update public.entity_data as records set position = assigned.position
  from app.assign_positions(p_uuids, v_records) as assigned
  where records.uuid = assigned.uuid and records.position <> assigned.position;
  return app.record_reordering(
    'entity_data_reordered', 'entity', p_entity_uuid, v_records, 'entities'
  );
end;
$$;
comment on function public.reorder_entity_data is
'Sorts the given records of a list into the given sequence.

The records share the positions that they hold now. Every other record keeps its position. Unknown ids are ignored. If an id is given twice, the last one counts. Returns the number of records found.

Role: Supervisor. Errors: NOT_FOUND, BAD_INPUT (more than 1,000 ids, or a record of another list), CATALOG_UNAVAILABLE.';
grant execute on function public.reorder_entity_data to authenticated;

create or replace function public.trash_entity_data(p_record_uuid uuid)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.set_record_status(p_record_uuid, 'trashed');
$$;
comment on function public.trash_entity_data is
'Moves a record to the trash.

Another record can then take its slug. A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CATALOG_UNAVAILABLE.';
grant execute on function public.trash_entity_data to authenticated;

create or replace function public.restore_entity_data(p_record_uuid uuid)
returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select app.set_record_status(p_record_uuid, 'published');
$$;
comment on function public.restore_entity_data is
'Restores a record from the trash, with status published.

A repeat answers already_done.

Role: Admin. Errors: NOT_FOUND, CONFLICT (another record has taken its slug), CATALOG_UNAVAILABLE.';
grant execute on function public.restore_entity_data to authenticated;

create or replace trigger entity_data_set_updated_at before update on public.entity_data
for each row execute function app.set_updated_at();
create or replace trigger entity_data_keep_identity before update on public.entity_data
for each row when ((old.uuid, old.entity_uuid) is distinct from (new.uuid, new.entity_uuid))
execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'entity_data_select_authenticated') then
    create policy entity_data_select_authenticated on public.entity_data
    for select to authenticated using ((select app.is_staff()));
  end if;
end;
$$;

select app.assert_grants();
commit;
