-- V101 writing: texts, attributes and the activity log, used by every write.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('public.translations') is null then
    create domain public.translations as jsonb
    constraint translations_check check ((value @@ '
      strict $.type() == "object" && !exists($.* ? (@.type() != "object"))
        && !exists($.*.* ? (@.type() != "string" && @.type() != "null"))
    ') is true);
  end if;
end;
$$;
comment on domain public.translations is
'Texts of a row in other languages, by language code: {"es-ES": {"name": "..."}}. The columns themselves hold the primary language. Language codes are not checked, so removing a language breaks no row.';

do $$
begin
  if to_regtype('public.slug') is null then
    create domain public.slug as varchar(255)
    constraint slug_check check (value ~ '^[a-z0-9]+(-[a-z0-9]+)*$');
  end if;
end;
$$;
comment on domain public.slug is
'A name for programs: lower-case letters, digits and single hyphens.';

create table if not exists public.activities (
  uuid uuid primary key default gen_random_uuid(),
  action varchar(100) not null,
  module varchar(50) not null,
  mode varchar(20) not null default 'manual' check (mode in ('manual', 'auto')),
  actor_uuid uuid,
  resource_type varchar(50) not null,
  resource_uuid uuid,
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  inserted_at timestamptz not null default app.now()
);
create index if not exists activities_resource_idx
on public.activities (resource_uuid, inserted_at desc);
create index if not exists activities_inserted_idx on public.activities (inserted_at desc);
alter table public.activities enable row level security;
comment on table public.activities is
'Every change to projects and to the catalog, with its caller. Written in the transaction of the change. Append-only.';
comment on column public.activities.actor_uuid is
'The account of the caller. Null means the service. Has no foreign key, because the log outlives accounts.';
comment on column public.activities.mode is
'manual for what a caller did, auto for what the system did as a result, such as completing a project.';
comment on column public.activities.metadata is 'Ids, and names in the primary language.';
grant select on table public.activities to authenticated;

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
  if btrim(p_translations -> p_language ->> p_field) <> '' then -- the usual case needs no search
    return p_translations -> p_language ->> p_field;
  end if;
  return coalesce((
    select texts.value ->> p_field
    from jsonb_each(p_translations) as texts
    where btrim(texts.value ->> p_field) <> ''
    and split_part(lower(texts.key), '-', 1) = split_part(lower(p_language), '-', 1)
    order by
      lower(texts.key) = lower(p_language) desc,
      lower(texts.key) = split_part(lower(p_language), '-', 1) desc,
      texts.key collate pg_catalog.ucs_basic
    limit 1
  ), p_primary);
end;
$$;
comment on function app.translate is
'Returns a text in the given language. Tries the exact language, its base, the first sibling by code, then the primary text. Blank texts count as missing. Returns the primary text if no language is given.';

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
    -- nfkd splits an accent from its letter, and the pattern then removes the accent
    from string_to_table(
      regexp_replace(normalize(lower(left(p_text, 255)), nfkd), U&'[\0300-\036F]', '', 'g'), null
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
'Returns the slug of a title: lower case, romanised (Latin, Cyrillic, Greek), with single hyphens. Returns the fallback when no letter or digit remains, as with an emoji.';

create or replace function app.check_attrs(p_attrs jsonb, variadic p_allowed text[])
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_attrs) is distinct from 'object' then
    perform app.fail('BAD_INPUT', 'Attributes must be a JSON object.');
  end if;
  if p_attrs - p_allowed <> '{}' then
    perform app.fail('BAD_INPUT', 'Unknown attribute. DETAIL lists the allowed names.', jsonb_build_object(
      'unknown', (select jsonb_agg(names.name) from jsonb_object_keys(p_attrs - p_allowed) as names (name)),
      'allowed', p_allowed
    ));
  end if;
  perform app.check_length('description', p_attrs ->> 'description', 5000);
end;
$$;
comment on function app.check_attrs is
'Rejects attributes that are not an object, or that have a key which is not allowed, or a description of more than 5,000 characters. Raises BAD_INPUT.';

create or replace function app.fail_constraint(p_sqlstate text, p_constraint text, p_message text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    case p_sqlstate when '23505' then 'CONFLICT' else 'BAD_INPUT' end,
    case p_sqlstate
      when '23505' then 'This value is already taken. Choose another one.'
      else 'The database rejected a value. DETAIL has the reason.'
    end,
    jsonb_build_object('constraint', nullif(p_constraint, ''), 'reason', p_message)
  );
  return null;
end;
$$;
comment on function app.fail_constraint is
'Turns a constraint violation into CONFLICT for a duplicate, and into BAD_INPUT for anything else. Never returns.';

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
'Records what the caller did, and notifies listeners after the commit. Listeners receive ids only.';

create or replace trigger activities_append_only
before update or delete or truncate on public.activities
for each statement execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'activities_select_authenticated') then
    create policy activities_select_authenticated on public.activities
    for select to authenticated using ((select app.is_staff()));
  end if;
end;
$$;

select app.assert_grants();
commit;
