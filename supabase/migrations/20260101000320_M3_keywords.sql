-- M3 keywords: words that find an item in the title of an order line.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists public.accessory_keywords (
  id uuid primary key default gen_random_uuid(),
  keyword app.label not null check (keyword <> '' and keyword = btrim(keyword)),
  component_id uuid not null references public.inventory_items (id),
  priority integer not null default 0,
  match_type text not null default 'contains'
  check (match_type in ('contains', 'exact', 'starts_with', 'ends_with')),
  is_active boolean not null default true,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now()
);
create unique index if not exists accessory_keywords_active_key
on public.accessory_keywords (lower(keyword), match_type) where is_active;
create index if not exists accessory_keywords_component_idx
on public.accessory_keywords (component_id);
alter table public.accessory_keywords enable row level security;
comment on table public.accessory_keywords is
'Words that find an item in the title of an order line. app.match_item tries them last, after SKU, variant and topper.';
comment on column public.accessory_keywords.component_id is 'The item, of any kind.';
comment on column public.accessory_keywords.priority is
'The highest priority wins, then the longest keyword. product_match of an item has priority 0.';
grant select on table public.accessory_keywords to authenticated;

create or replace function public.get_accessory_keywords(
  p_search text default null, p_is_active boolean default null
)
returns table (
  id uuid, keyword text, component_id uuid, component_name text, component_sku text,
  priority integer, match_type text, is_active boolean, created_at timestamptz,
  updated_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select app.require('Staff');
  select app.check_length('p_search', p_search, 200);
  select
    words.id, words.keyword, words.component_id, items.title, items.sku, words.priority,
    words.match_type, words.is_active, words.created_at, words.updated_at
  from public.accessory_keywords as words
  inner join public.inventory_items as items on items.id = words.component_id
  where (p_is_active is null or words.is_active = p_is_active)
  and strpos(lower(words.keyword || ' ' || items.title), lower(coalesce(p_search, ''))) > 0
  order by words.priority desc, length(words.keyword) desc, words.keyword, words.id;
$$;
comment on function public.get_accessory_keywords is
'Returns keywords, highest priority first, then the longest. p_search looks in keyword and item title.

Role: Staff. Errors: BAD_INPUT (p_search has more than 200 characters).';
grant execute on function public.get_accessory_keywords to authenticated;

create or replace function public.upsert_accessory_keyword(
  p_keyword text default null, p_component_id uuid default null, p_id uuid default null,
  p_priority integer default null, p_match_type text default null, p_is_active boolean default null
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := coalesce(p_id, gen_random_uuid());
begin
  perform app.require('Admin');
  begin
    if p_id is null then
      insert into public.accessory_keywords (
        id, keyword, component_id, priority, match_type, is_active
      )
      values (
        v_id, app.clean_name(p_keyword), p_component_id, coalesce(p_priority, 0),
        coalesce(p_match_type, 'contains'), coalesce(p_is_active, true)
      );
    else
      update public.accessory_keywords as words
      set
        keyword = app.clean_name(coalesce(p_keyword, words.keyword)),
        component_id = coalesce(p_component_id, words.component_id),
        priority = coalesce(p_priority, words.priority),
        match_type = coalesce(p_match_type, words.match_type),
        is_active = coalesce(p_is_active, words.is_active)
      where words.id = p_id;
      if not found then
        perform app.not_found('keyword', 'id', p_id);
      end if;
    end if;
  exception
    when unique_violation then
      perform app.fail('CONFLICT', 'This keyword and match type are in use. Change that keyword.');
    when foreign_key_violation then
      perform app.not_found('item', 'component_id', p_component_id);
    when integrity_constraint_violation then
      perform app.fail(
        'BAD_INPUT',
        'A keyword needs a text, an item and a match type: contains, exact, starts_with, ends_with.'
      );
  end;
  perform app.audit('save_keyword', null, v_id::text, jsonb_strip_nulls(jsonb_build_object(
    'keyword', p_keyword, 'component_id', p_component_id, 'priority', p_priority,
    'match_type', p_match_type, 'is_active', p_is_active
  )));
  return v_id;
end;
$$;
comment on function public.upsert_accessory_keyword is
'Creates a keyword, or updates the keyword with this id. Returns its id.

Audited. A null field stays unchanged. A new keyword has priority 0 and match type contains by default. Each text may be active only once per match type.

Role: Admin. Errors: BAD_INPUT, NOT_FOUND, CONFLICT.';
grant execute on function public.upsert_accessory_keyword to authenticated;

create or replace trigger accessory_keywords_set_updated_at
before update on public.accessory_keywords
for each row execute function app.set_updated_at();

do $$
begin
  if not exists (
    select from pg_policies where policyname = 'accessory_keywords_select_authenticated'
  ) then
    create policy accessory_keywords_select_authenticated on public.accessory_keywords
    for select to authenticated
    using ((select app.is_staff()));
  end if;
end;
$$;

select app.assert_grants();
commit;
