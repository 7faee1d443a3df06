begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants
  where invariants.name in ('stock', 'holds', 'returned_stock');
end if; end $$;
drop function if exists
app.stock_audit, app.audit_returned_stock, app.audit_holds, app.audit_stock;
commit;
