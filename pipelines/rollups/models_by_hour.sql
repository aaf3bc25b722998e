-- Models by hour: what each model and variant carried, cost, refused and got wrong.
SELECT
  date_trunc('hour', ts)                                        AS hour,
  model,
  CASE WHEN variant = 'free' THEN 'free' ELSE '' END            AS variant,
  simulated,
  count(*)                                                      AS requests,
  sum(prompt_tokens)                                            AS prompt_tokens,
  sum(completion_tokens)                                        AS completion_tokens,
  sum(cached_tokens)                                            AS cached_tokens,
  sum(reasoning_tokens)                                         AS reasoning_tokens,
  sum(cost_nanousd)                                             AS cost_nanousd,
  count(*) FILTER (WHERE outcome = 'ok')                        AS answered,
  count(*) FILTER (WHERE outcome = 'error')                     AS errors,
  count(*) FILTER (WHERE cancelled)                             AS cancelled,
  count(*) FILTER (WHERE refusal = 'filtered')                  AS filtered,
  count(*) FILTER (WHERE refusal = 'declined')                  AS declined,
  count(*) FILTER (WHERE refusal = 'declined_text')             AS declined_text,
  count(*) FILTER (WHERE truncated)                             AS truncated,
  count(*) FILTER (WHERE context_overflow)                      AS context_overflow,
  count(*) FILTER (WHERE finish_reason = 'tool_calls')          AS tool_requests,
  count(*) FILTER (WHERE finish_reason = 'tool_calls'
    AND tool_invalid_json + tool_unknown_name + tool_schema_mismatch = 0) AS tool_requests_ok,
  sum(tools_called)                                             AS tools_called,
  sum(tool_invalid_json)                                        AS tool_invalid_json,
  sum(tool_unknown_name)                                        AS tool_unknown_name,
  sum(tool_schema_mismatch)                                     AS tool_schema_mismatch,
  count(*) FILTER (WHERE tool_choice IN ('required', 'named'))  AS tools_demanded,
  count(*) FILTER (WHERE tool_choice IN ('required', 'named')
    AND outcome = 'ok' AND tools_called = 0)                    AS tools_ignored,
  histogram(latency_us)                                         AS latency_us,
  histogram(ttft_us)                                            AS ttft_us,
  bottom_k(account_id, 1024)                                    AS accounts
FROM usage_events
GROUP BY 1, 2, 3, 4
