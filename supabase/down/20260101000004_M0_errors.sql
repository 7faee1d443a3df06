begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.not_found, app.fail, app.shorten, app.check_range;
drop table if exists app.error_codes;
commit;
