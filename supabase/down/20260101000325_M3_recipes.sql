begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.delete_bom, public.save_bom_items, public.upsert_bom, public.get_boms, app.lock_bom;
drop table if exists public.bom_items, public.boms;

commit;
