begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.record_activity, app.fail_constraint, app.check_attrs, app.slugify, app.translate;
drop table if exists public.activities;
drop domain if exists public.slug, public.translations;
commit;
