-- Chapter 11: Settings

-- get_setting as Staff
select public.get_setting('bannos', 'dueDates.defaultDue');

-- get_settings as Staff
select settings.key, settings.value from public.get_settings('bannos') as settings;

-- set_setting as Admin
select public.set_setting('bannos', 'inventory_tracking_enabled', 'true');

-- reset_setting as Admin
select public.set_setting('bannos', 'monitor.autoRefresh', '15');
select public.reset_setting('bannos', 'monitor.autoRefresh');

-- get_printing_settings as Staff
select public.get_printing_settings('bannos');

-- set_printing_settings as Admin
select public.set_printing_settings('bannos', '{"ticketSize": "58mm", "copies": 2}');

-- get_monitor_density as Staff
select public.get_monitor_density('bannos');

-- set_monitor_density as Admin
select public.set_monitor_density('bannos', 'compact');

-- get_flavours as Staff
select public.get_flavours('bannos');

-- set_flavours as Admin
select public.set_flavours('bannos', array['Vanilla', 'Mango', 'Pistachio']);

-- get_storage_locations as Staff
select public.get_storage_locations('bannos');

-- set_storage_locations as Admin
select public.set_storage_locations('bannos', array['Store Fridge', 'Kitchen Coolroom']);

-- get_due_date_settings as Staff
select public.get_due_date_settings('bannos');

-- set_due_date_settings as Admin
select public.set_due_date_settings(
  'bannos', '{"defaultDue": "+2 days", "blackoutDates": ["2026-12-25", "2026-12-26"]}'
);

-- create_store as Admin
select public.create_store(
  'sugarbird', 'Sugarbird', p_scan_letter => 'S', p_time_zone => 'Australia/Perth',
  p_currency => 'AUD', p_shop_domain => 'sugarbird.myshopify.com'
);
