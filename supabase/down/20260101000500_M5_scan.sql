-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
public.get_order_for_scan(text), app.resolve_scan(app.caller, text),
app.require_order(text, text, text, uuid), app.performer(text, text, uuid);

commit;
