-- Drops what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists app.take_places, app.check_strategy, app.check_order;

commit;
