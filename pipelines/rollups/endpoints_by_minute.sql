-- Endpoints by minute and region: the provider's own record, failed earlier attempts apart (failed_attempts_by_minute).
SELECT
  date_trunc('minute', ts)                                      AS minute,
  provider,
  endpoint,
  model,
  region,
  simulated,
  count(*)                                                      AS requests,
  sum(prompt_tokens)                                            AS prompt_tokens,
  sum(completion_tokens)                                        AS completion_tokens,
  sum(cached_tokens)                                            AS cached_tokens,
  sum(cost_nanousd)                                             AS cost_nanousd,
  count(*) FILTER (WHERE outcome = 'ok')                        AS attempts_ok,
  -- 400, 403, 413, 429 and client cancels are neither success nor failure (see the formula of uptime).
  count(*) FILTER (WHERE outcome = 'error' AND status NOT IN (400, 403, 413, 429)) AS attempts_failed,
  count(*) FILTER (WHERE status = 429)                          AS rate_limited,
  count(*) FILTER (WHERE refusal <> 'none')                     AS refused,
  count(*) FILTER (WHERE finish_reason = 'tool_calls')          AS tool_requests,
  count(*) FILTER (WHERE finish_reason = 'tool_calls'
    AND tool_invalid_json + tool_unknown_name + tool_schema_mismatch = 0) AS tool_requests_ok,
  sum(overhead_us)                                              AS overhead_us,
  histogram(latency_us)                                         AS latency_us,
  histogram(ttft_us)                                            AS ttft_us,
  -- Throughput counts streamed answers of 16 tokens or more only; tokens per second x 1000, as an integer.
  histogram(CASE WHEN streamed AND completion_tokens >= 16 AND generation_us > 0
    THEN completion_tokens * 1000000000 / generation_us END)    AS throughput_mtps
FROM usage_events
WHERE provider <> ''
GROUP BY 1, 2, 3, 4, 5, 6
