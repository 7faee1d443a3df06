begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.match_item, public.upsert_accessory_keyword, public.get_accessory_keywords;
drop table if exists public.accessory_keywords;
commit;
