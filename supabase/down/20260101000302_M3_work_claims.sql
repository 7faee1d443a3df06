begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.extend_work_lease, public.fail_work, public.complete_work, public.claim_work,
public.complete_and_claim_work, app.finish_work, app.retry_or_bury_work;
commit;
