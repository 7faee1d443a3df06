-- Chapter 13: Alerts and scheduled tasks

-- get_alerts as Supervisor
select alerts.severity, alerts.code, alerts.since, alerts.problem, alerts.remedy
from public.get_alerts('bannos') as alerts;

-- get_tick_status as Supervisor
select status.task, status.store, status.last_success, status.last_error
from public.get_tick_status() as status
where status.failures > 0;
