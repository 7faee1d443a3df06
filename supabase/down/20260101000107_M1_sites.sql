begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists stores_add_default_site on public.stores;
drop policy if exists sites_select_authenticated on public.sites;
drop function if exists
public.save_store_sites, app.write_store_sites, public.upsert_site, public.get_sites,
app.require_site, app.require_sites, app.my_sites, app.sites_of, app.choose_site,
app.add_default_site;
alter table if exists public.orders drop column if exists site;
drop table if exists public.store_sites, public.sites;
commit;
