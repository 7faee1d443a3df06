-- Chapter 9: Stock, parts and recipes

-- get_inventory_status as Staff
select item.sku, item.stock, item.ats from public.get_inventory_status('candle') as item;

-- get_stock_transactions as Staff
select txn.item_name, txn.change_amount, txn.stock_after, txn.created_by
from public.get_stock_transactions('components', p_limit => 20) as txn;

-- adjust_component_stock as Supervisor
select public.adjust_component_stock(board.id, 25, 'restock', 'invoice 1001')
from public.get_components(p_search => 'dev-cake-board') as board;

-- adjust_accessory_stock as Supervisor
select public.adjust_accessory_stock(candle.id, -2, 'damaged')
from public.get_accessories() as candle
where candle.sku = 'dev-gold-candle';

-- adjust_cake_topper_stock as Admin
select public.adjust_cake_topper_stock(topper.id, 10, 'restock')
from public.upsert_cake_topper(p_name_1 => 'Dinosaur') as topper (id);

-- set_stock_buffer as Admin
select public.set_stock_buffer(candle.id, 2)
from public.get_accessories() as candle
where candle.sku = 'dev-gold-candle';

-- get_sites as Staff
select site.code, site.name, site.rules from public.get_sites('bannos') as site;

-- upsert_site as Admin
select public.upsert_site('kitchen', 'Central kitchen');

-- save_store_sites as Admin
select public.upsert_site('kitchen', 'Central kitchen');
select public.save_store_sites('bannos', '[
  {"site": "main"},
  {"site": "kitchen", "delivery_method": "delivery"},
  {"site": "kitchen", "pickup_location": "Harbour Street"}
]');

-- transfer_stock as Admin
select public.upsert_site('kitchen', 'Central kitchen');
select public.save_store_sites('bannos', '[
  {"site": "main"}, {"site": "kitchen", "delivery_method": "delivery"}
]');
select public.transfer_stock(board.id, 'main', 'kitchen', 5, 'for the weekend')
from public.get_components(p_search => 'dev-cake-board') as board;

-- get_site_locations as Admin
select place.store, place.site, place.location_id from public.get_site_locations() as place;

-- save_site_location as Admin
select public.save_site_location('bannos', 'main', '84560126179');

-- get_push_items as service_role
select item.sku, item.store, item.location_id, item.available
from public.get_push_items(array['dev-gold-candle']) as item;

-- apply_reconcile as service_role
select public.apply_reconcile('[{"sku": "dev-gold-candle", "available": 48}]', 'main');

-- get_shortages as Staff
select short.order_id, short.title, short.quantity, short.on_hand
from public.get_shortages('bannos') as short;

-- deduct_on_order_create as service_role
select public.import_shopify_order('bannos', '{
  "id": 5800000018617, "order_number": 18617,
  "line_items": [
    {"id": 1, "title": "Birthday Cake", "quantity": 1, "price": "95.00"},
    {"id": 2, "title": "Gold Candle", "sku": "dev-gold-candle", "quantity": 2, "price": "4.00"}
  ]
}');
select public.deduct_on_order_create('gid://shopify/Order/5800000018617', '{
  "id": 5800000018617, "order_number": 18617,
  "line_items": [
    {"id": 1, "title": "Birthday Cake", "quantity": 1, "price": "95.00"},
    {"id": 2, "title": "Gold Candle", "sku": "dev-gold-candle", "quantity": 2, "price": "4.00"}
  ]
}');

-- get_components as Staff
select component.name, component.current_stock, component.is_low_stock
from public.get_components('packaging') as component;

-- get_low_stock_components as Staff
select component.name, component.shortage from public.get_low_stock_components() as component;

-- upsert_component as Admin
select public.upsert_component(
  p_sku => 'sugar-fine', p_name => 'Fine sugar', p_unit => 'kg', p_min_stock => 20
);

-- delete_component as Admin
select public.delete_component(sugar.id)
from public.upsert_component(p_sku => 'sugar-fine', p_name => 'Fine sugar') as sugar (id);

-- get_accessories as Staff
select accessory.name, accessory.current_stock from public.get_accessories('candle') as accessory;

-- get_accessories_needing_sync as Staff
select accessory.sku from public.get_accessories_needing_sync() as accessory;

-- upsert_accessory as Admin
select public.upsert_accessory(
  p_sku => 'candle-silver', p_name => 'Silver candle', p_category => 'candle',
  p_product_match => 'silver candle'
);

-- soft_delete_accessory as Admin
select public.soft_delete_accessory(candle.id)
from public.get_accessories('candle') as candle
where candle.sku = 'dev-gold-candle';

-- get_cake_toppers as Staff
select topper.name_1, topper.current_stock from public.get_cake_toppers() as topper;

-- upsert_cake_topper as Admin
select public.upsert_cake_topper(p_name_1 => 'Dinosaur', p_name_2 => 'Dino', p_min_stock => 3);

-- soft_delete_cake_topper as Admin
select public.soft_delete_cake_topper(topper.id)
from public.upsert_cake_topper(p_name_1 => 'Dinosaur') as topper (id);

-- get_accessory_keywords as Staff
select word.keyword, word.component_name
from public.get_accessory_keywords(p_is_active => true) as word;

-- upsert_accessory_keyword as Admin
select public.upsert_accessory_keyword('golden candle', candle.id, p_priority => 10)
from public.get_accessories('candle') as candle
where candle.sku = 'dev-gold-candle';

-- get_boms as Staff
select recipe.product_title, recipe.items from public.get_boms('bannos') as recipe;

-- upsert_bom as Admin
select public.upsert_bom(p_product_title => 'Unicorn Cake', p_store => 'both');

-- save_bom_items as Admin
select public.save_bom_items(recipe.id, jsonb_build_array(jsonb_build_object(
  'component_id', board.id, 'quantity_required', 1, 'stage', 'Packing'
)))
from public.upsert_bom(p_product_title => 'Unicorn Cake', p_store => 'both') as recipe (id),
public.get_components(p_search => 'dev-cake-board') as board;

-- delete_bom as Admin
select public.delete_bom(recipe.id) from public.get_boms(p_search => 'Birthday Cake') as recipe;
