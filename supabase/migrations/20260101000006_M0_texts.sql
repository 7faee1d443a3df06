-- M0 texts: the kinds of text that tables store, each with its limit.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regtype('app.label') is null then
    create domain app.label as text constraint label_check check (length(value) <= 300);
  end if;
  if to_regtype('app.code') is null then
    create domain app.code as text constraint code_check check (length(value) <= 200);
  end if;
  if to_regtype('app.person') is null then
    create domain app.person as text constraint person_check check (length(value) <= 200);
  end if;
  if to_regtype('app.contact') is null then
    create domain app.contact as text constraint contact_check check (length(value) <= 2000);
  end if;
  if to_regtype('app.note') is null then
    create domain app.note as text constraint note_check check (length(value) <= 5000);
  end if;
end;
$$;
comment on domain app.label is 'A name or title that people read, at most 300 characters.';
comment on domain app.code is 'A key, SKU or id from another system, at most 200 characters.';
comment on domain app.person is 'The name of a person, at most 200 characters.';
comment on domain app.contact is
'An email, phone number, address line or link, at most 2,000 characters.';
comment on domain app.note is 'A text that people write, at most 5,000 characters.';

create or replace function app.clean_text(p_text text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := regexp_replace(
    p_text, '[\u0001-\u0008\u000b-\u001f\u007f-\u00a0\u2028-\u202e\u2066-\u2069]', ' ', 'g'
  );
begin
  if octet_length(v_text) = length(v_text) then -- ASCII: cheap, and the usual case
    return nullif(btrim(v_text, E' \t\n'), '');
  end if;
  -- trims spaces, and characters without width such as the byte order mark and marks of direction
  return nullif(btrim(
    normalize(v_text, nfc),
    E' \t\n\u00ad\u061c\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009'
    '\u200a\u200b\u200c\u200d\u200e\u200f\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u3000\ufeff'
  ), '');
end;
$$;
comment on function app.clean_text is
'Returns a text in Unicode form NFC, without spaces and invisible characters at its ends. Replaces control characters by spaces, except tabs and line breaks. Returns null for an empty text.';

create or replace function app.clean_name(p_text text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return app.clean_text(translate(p_text, E'\t\n', '  '));
end;
$$;
comment on function app.clean_name is
'Returns a name, title or label as app.clean_text does, on one line. Every function that stores a name uses this function.';

create or replace function app.check_length(p_name text, p_text text, p_most integer)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_text) > p_most then
    perform app.fail(
      'BAD_INPUT', format('%s must have at most %s characters.', p_name, p_most),
      jsonb_build_object('field', p_name, 'length', length(p_text))
    );
  end if;
end;
$$;
comment on function app.check_length is 'Raises BAD_INPUT when a text is too long. Accepts null.';

commit;
