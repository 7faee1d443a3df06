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
