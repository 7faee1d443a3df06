-- M2 due dates: the due date of an order, read from its texts and never guessed.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.shopify_due_date(p_text text)
returns date
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := btrim(
    replace(replace(split_part(lower(p_text), 'between', 1), ',', ''), '  ', ' '), E' \t\n;-'
  );
  v_weekday text;
  v_part text[]; -- day, month, year
  v_date date;
begin
  if v_text like any ('{del:%,pickup:%}') then
    v_text := ltrim(split_part(v_text, ':', 2));
  end if;
  if v_text ~ '^20\d\d-\d\d-\d\d$' then
    v_part := string_to_array(v_text, '-');
    v_part := array[v_part[3], v_part[2], v_part[1]];
  elsif v_text ~ '^\d\d?/\d\d?/20\d\d$' then
    v_part := string_to_array(v_text, '/');
  elsif v_text ~ '^([a-z]+ )?\d\d?(st|nd|rd|th)? [a-z]+ 20\d\d$' then
    v_part := string_to_array(v_text, ' ');
    if cardinality(v_part) = 4 then
      v_weekday := v_part[1];
      v_part := v_part[2:4];
    end if;
    v_part[1] := rtrim(v_part[1], 'stndrh');
    v_part[2] := array_position(
      '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'::text[], left(v_part[2], 3)
    );
  end if;
  if v_part[2]::integer between 1 and 12 then
    v_date := make_date(v_part[3]::integer, v_part[2]::integer, 1) + (v_part[1]::integer - 1);
  end if;
  return case
    when extract(month from v_date) = v_part[2]::integer -- rejects a day 0 or a 31 February
    and (
      v_weekday is null
      or extract(isodow from v_date)
      = array_position('{mon,tue,wed,thu,fri,sat,sun}'::text[], left(v_weekday, 3))
    )
    then v_date
  end;
end;
$$;
comment on function app.shopify_due_date is
'Returns the date in a text: 2025-09-16, 08/12/2025 (day first) or Sat 8 Nov 2025.

Skips a leading DEL: or PICKUP:, and ignores everything from the word between on. Never guesses: returns null for anything else, for a day that does not exist, and for a wrong weekday.';

create or replace function app.shopify_due(
  p_attributes jsonb[], p_tags jsonb, out due_date date, out due_date_text text
)
returns record
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_tags jsonb := app.shopify_list('tags', case jsonb_typeof(p_tags)
    when 'string' then to_jsonb(string_to_array(p_tags #>> '{}', ',')) else p_tags
  end);
  v_marked text[] := '{}'::text[];
  v_plain text[] := '{}'::text[];
  v_said text[];
  v_words text;
  v_date date;
  v_first date;
  v_last date;
begin
  for v_at in 0..jsonb_array_length(v_tags) - 1 loop
    v_words := app.clean_text(v_tags ->> v_at);
    if lower(v_words) like any ('{del:%,pickup:%}') then
      v_marked := v_marked || v_words;
    elsif app.shopify_due_date(v_words) is not null then
      v_plain := v_plain || v_words;
    end if;
  end loop;
  for v_source in 1..4 loop
    v_said := case v_source
      when 1 then app.shopify_values(p_attributes, 'local delivery date and time')
      when 2 then app.shopify_values(p_attributes, '%delivery%date%')
        || app.shopify_values(p_attributes, '%pick%up%date%')
      when 3 then v_marked
      else v_plain
    end;
    v_first := null;
    v_last := null;
    foreach v_words in array v_said loop
      v_date := app.shopify_due_date(v_words);
      v_first := least(v_first, v_date);
      v_last := greatest(v_last, v_date);
    end loop;
    if v_first = v_last then
      due_date := v_first;
      due_date_text := array_to_string(v_said, '; ');
      return;
    end if;
    due_date_text := coalesce(due_date_text, nullif(array_to_string(v_said, '; '), ''));
  end loop;
end;
$$;
comment on function app.shopify_due is
'Returns the due date of an order from its attributes, else from its tags, and the text of that date.

The first source with exactly one date decides. Without a date, the first text found is returned for a person to read. Raises BAD_INPUT for a wrong list of tags.';

create or replace function app.shopify_moment(p_text text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text ~ (
    '^\d{4}-\d\d-\d\dT([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,6})?'
    '(Z|[+-](0\d|1[0-4]):[0-5]\d)$'
  )
  and app.shopify_due_date(left(p_text, 10)) is not null then
    return to_char(p_text::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  end if;
  return null;
end;
$$;
comment on function app.shopify_moment is
'Returns a timestamp in UTC as text in one format, so that texts sort by time. Returns null for anything else.';

select app.assert_grants();
commit;
