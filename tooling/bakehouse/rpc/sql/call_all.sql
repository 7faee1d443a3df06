-- Run all calls in the setting bakehouse.calls, and put the answers in that setting.
-- All calls take one round trip. Each call is rolled back before the next.
do $$
declare
  v_calls constant jsonb := current_setting('bakehouse.calls');
  v_answers jsonb := '{}';
  v_signature text;
  v_state text;
  v_hint text;
begin
  for v_signature in select jsonb_object_keys(v_calls) loop
    begin
      execute v_calls ->> v_signature;
      raise sqlstate 'BH000';
    exception
      when others then
        get stacked diagnostics v_state = returned_sqlstate, v_hint = pg_exception_hint;
        v_answers := v_answers || jsonb_build_object(v_signature, array[v_state, v_hint]);
    end;
  end loop;
  perform set_config('bakehouse.calls', v_answers::text, true);
end;
$$
