-- The same work for DuckDB: load JSON lines, keep raw events as zstd Parquet, and the same rollups.
-- Quantiles by approx_quantile (t-digest), distinct accounts by approx_count_distinct (HyperLogLog).
SET threads = 2;
SET preserve_insertion_order = false;
CREATE TABLE e AS SELECT * FROM read_json('{jsonl}', format = 'newline_delimited', sample_size = 20000);
COPY e TO '{out}/raw.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  SELECT date_trunc('hour', ts) AS hour, model, variant = 'free' AS free, simulated, count(*) AS requests,
    sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, sum(cached_tokens) AS cached_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(cost_nanousd) AS cost_nanousd,
    count(*) FILTER (outcome = 'ok') AS answered, count(*) FILTER (outcome = 'error') AS errors,
    count(*) FILTER (cancelled) AS cancelled, count(*) FILTER (refusal = 'filtered') AS filtered,
    count(*) FILTER (refusal = 'declined') AS declined, count(*) FILTER (refusal = 'declined_text') AS declined_text,
    count(*) FILTER (truncated) AS truncated, count(*) FILTER (finish_reason = 'tool_calls') AS tool_requests,
    sum(tools_called) AS tools_called, sum(tool_invalid_json) AS tool_invalid_json,
    approx_quantile(latency_us, [0.5, 0.95, 0.99]) AS latency, approx_quantile(ttft_us, [0.5, 0.95, 0.99]) AS ttft,
    approx_count_distinct(account_id) AS accounts
  FROM e GROUP BY ALL
) TO '{out}/models_by_hour.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  SELECT date_trunc('minute', ts) AS minute, provider, endpoint, model, region, simulated, count(*) AS requests,
    sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, sum(cached_tokens) AS cached_tokens,
    sum(cost_nanousd) AS cost_nanousd, count(*) FILTER (outcome = 'ok') AS attempts_ok,
    count(*) FILTER (outcome = 'error' AND status NOT IN (400, 403, 413, 429)) AS attempts_failed,
    count(*) FILTER (status = 429) AS rate_limited, count(*) FILTER (refusal <> 'none') AS refused,
    count(*) FILTER (finish_reason = 'tool_calls') AS tool_requests, sum(overhead_us) AS overhead_us,
    approx_quantile(latency_us, [0.5, 0.95, 0.99]) AS latency, approx_quantile(ttft_us, [0.5, 0.95, 0.99]) AS ttft,
    approx_quantile(CASE WHEN streamed AND completion_tokens >= 16 AND generation_us > 0
      THEN completion_tokens * 1000000000 // generation_us END, [0.5, 0.95, 0.99]) AS throughput
  FROM e WHERE provider <> '' GROUP BY ALL
) TO '{out}/endpoints_by_minute.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  SELECT date_trunc('hour', ts) AS hour, app, model, simulated, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost_nanousd) AS cost_nanousd, approx_count_distinct(account_id) AS accounts
  FROM e WHERE app <> '' GROUP BY ALL
) TO '{out}/apps_by_hour.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  SELECT date_trunc('day', ts) AS day, account_id, app, model, variant = 'free' AS free, provider, simulated,
    count(*) AS requests, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(cached_tokens) AS cached_tokens, sum(cost_nanousd) AS cost_nanousd
  FROM e GROUP BY ALL
) TO '{out}/accounts_by_day.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  SELECT date_trunc('minute', ts) AS minute, a.provider, a.endpoint, a.model, a.region, simulated, count(*) AS attempts,
    count(*) FILTER (a.status = 429) AS rate_limited, sum(a.cost_nanousd) AS cost_nanousd,
    approx_quantile(a.latency_us, [0.5, 0.95, 0.99]) AS latency
  FROM (SELECT ts, simulated, unnest(failed_attempts) AS a FROM e WHERE len(failed_attempts) > 0) GROUP BY ALL
) TO '{out}/failed_attempts_by_minute.parquet' (FORMAT parquet, COMPRESSION zstd);
