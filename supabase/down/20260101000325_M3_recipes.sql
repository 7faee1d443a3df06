begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists inventory_items_forbid_retiring_part on public.inventory_items;
drop function if exists
app.forbid_retiring_part, app.find_recipe, public.delete_bom, public.save_bom_items,
public.upsert_bom, public.get_boms, app.require_no_loop, app.lock_recipe;
drop table if exists public.bom_items, public.boms;
commit;
