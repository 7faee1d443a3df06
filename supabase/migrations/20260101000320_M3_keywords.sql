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

create or replace function app.match_item(p_line jsonb, out item_id uuid, out matched_by text)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_title text := lower(btrim(p_line ->> 'title'));
  v_variant text := lower(p_line ->> 'variant_title');
  v_text text;
begin
  select items.id, 'sku' into item_id, matched_by
  from public.inventory_items as items where items.sku = p_line ->> 'sku' and items.is_active;
  if found then
    return;
  end if;

  select items.id, 'variant' into item_id, matched_by
  from public.inventory_items as items
  where items.shopify_variant_id = p_line ->> 'variant_id' and items.is_active
  order by items.sku
  limit 1;
  if found then
    return;
  end if;

  select toppers.id, case when toppers.is_product then 'product' else 'name' end
  into item_id, matched_by
  from (
    select
      items.id, items.sku,
      coalesce(
        p_line ->> 'product_id' in (items.shopify_product_id_1, items.shopify_product_id_2), false
      ) as is_product,
      v_title in (lower(items.title), lower(items.alt_title)) as is_name
    from public.inventory_items as items where items.kind = 'topper' and items.is_active
  ) as toppers
  where toppers.is_product or toppers.is_name
  order by toppers.is_product desc, toppers.sku
  limit 1;
  if found or p_line ->> 'kind' = 'cake' then
    return;
  end if;

  -- a variant reads "Gold / Large" online and "Gold + Large" at the till: add its second part
  v_text := v_title || ' ' || coalesce(
    nullif(btrim(split_part(v_variant, '/', 2)), ''),
    nullif(btrim(split_part(v_variant, '+', 2)), ''), v_variant, ''
  );
  select items.id, 'keyword' into item_id, matched_by
  from public.inventory_items as items
  inner join (
    select given.component_id, lower(given.keyword), given.match_type, given.priority
    from public.accessory_keywords as given where given.is_active
    union all
    select own.id, lower(own.product_match), 'contains', 0
    from public.inventory_items as own where own.product_match is not null
  ) as words (component_id, keyword, match_type, priority) on words.component_id = items.id
  where items.is_active and case words.match_type
    when 'exact' then words.keyword in (v_title, btrim(v_text))
    when 'starts_with' then starts_with(v_text, words.keyword)
    when 'ends_with' then words.keyword in (
      right(v_title, length(words.keyword)), right(btrim(v_text), length(words.keyword))
    )
    else strpos(v_text, words.keyword) > 0
  end
  order by words.priority desc, length(words.keyword) desc, items.sku
  limit 1;
end;
$$;
comment on function app.match_item is
'Finds the item of an order line. Returns the item and the kind of match, or nulls. Tries SKU, variant, product and name of a topper, then keywords. Keywords never match cakes. The highest priority wins, then the longest keyword, then the first SKU. Keywords are plain text, so % and _ are ordinary characters.';

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
