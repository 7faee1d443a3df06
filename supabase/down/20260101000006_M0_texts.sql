begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.check_length, app.clean_name, app.clean_text;
drop domain if exists app.label, app.code, app.person, app.contact, app.note;
commit;
