-- The same work for ClickHouse (chdb): events in, raw events as zstd Parquet, then the five rollups of pipelines/rollups/
-- from those files. {input} is the path, {format} JSONEachRow or Avro, {id} the type of event_id in it (UUID or
-- FixedString(16)), {out} the output folder. Streaming into Parquet and aggregating from it was measured to take
-- no more CPU than a Memory table first. LowCardinality made loading up to three times slower. Row groups stay at the
-- default million rows: 122,880 took a fifth less memory, but more CPU and more bytes.
-- Quantiles: quantilesBFloat16 (counts per value of 8 significant bits: within 0.4%, bounded state; cheaper here than
-- quantilesTDigest and quantilesDD; quantilesTiming ends at 30,000). Distinct accounts: uniqCombined64.
SET max_threads = 2;
SET max_parsing_threads = 2;
SET max_insert_threads = 1;
SET session_timezone = 'UTC';
SET date_time_input_format = 'best_effort';
SET engine_file_truncate_on_insert = 1;
SET output_format_parquet_compression_method = 'zstd';
SET output_format_compression_level = 1;
SET output_format_parquet_write_bloom_filter = 0;

-- The columns of schemas/usage_event.avsc; peers.py compares the result with that file.
INSERT INTO FUNCTION file('{out}/raw.parquet', 'Parquet')
SELECT * FROM file('{input}', '{format}', $$
  event_id {id}, ts DateTime64(6, 'UTC'), request_id String, session_id String, account_id String, app String,
  operation String, streamed Bool, model_requested String, model String, variant String,
  provider String, endpoint String, region String, quantization String, prompt_tokens Int64,
  cached_tokens Int64, cache_write_tokens Int64, completion_tokens Int64, reasoning_tokens Int64,
  image_prompt_tokens Int64, audio_prompt_tokens Int64, video_prompt_tokens Int64,
  image_completion_tokens Int64, audio_completion_tokens Int64, cost_nanousd Int64,
  cost_prompt_nanousd Int64, cost_cached_nanousd Int64, cost_cache_write_nanousd Int64,
  cost_completion_nanousd Int64, cost_request_nanousd Int64, cost_other_nanousd Int64, ttft_us Nullable(Int64),
  latency_us Int64, generation_us Nullable(Int64), overhead_us Int64, outcome String, status Int32,
  error_type String, finish_reason String, native_finish_reason String, refusal String,
  tools_offered Int32, tool_choice String, tools_called Int32, tool_invalid_json Int32,
  tool_unknown_name Int32, tool_schema_mismatch Int32, truncated Bool, context_overflow Bool,
  cancelled Bool, failed_attempts Array(Tuple(provider String, endpoint String, region String, model String,
    status Int32, error_type String, latency_us Int64, cost_nanousd Int64)),
  category String, usage_source String, simulated Bool, source String, router_id String,
  router_version String, route String$$);

-- Types are given, so that no column is Nullable that the events say is not.
CREATE VIEW e AS SELECT * FROM file('{out}/raw.parquet', 'Parquet', $$
  ts DateTime64(6, 'UTC'), account_id String, app String, model String, variant String, provider String, endpoint String,
  region String, streamed Bool, prompt_tokens Int64, cached_tokens Int64, completion_tokens Int64, reasoning_tokens Int64,
  cost_nanousd Int64, ttft_us Nullable(Int64), latency_us Int64, generation_us Nullable(Int64), overhead_us Int64,
  outcome String, status Int32, finish_reason String, refusal String, tool_choice String, tools_called Int32,
  tool_invalid_json Int32, tool_unknown_name Int32, tool_schema_mismatch Int32, truncated Bool, context_overflow Bool,
  cancelled Bool, failed_attempts Array(Tuple(provider String, endpoint String, region String, model String,
    status Int32, error_type String, latency_us Int64, cost_nanousd Int64)), simulated Bool$$);

INSERT INTO FUNCTION file('{out}/models_by_hour.parquet', 'Parquet')
SELECT toStartOfHour(ts) AS hour, model, if(e.variant = 'free', 'free', '') AS variant, simulated,
  count() AS requests, sum(e.prompt_tokens) AS prompt_tokens, sum(e.completion_tokens) AS completion_tokens,
  sum(e.cached_tokens) AS cached_tokens, sum(e.reasoning_tokens) AS reasoning_tokens, sum(e.cost_nanousd) AS cost_nanousd,
  countIf(outcome = 'ok') AS answered, countIf(outcome = 'error') AS errors, countIf(e.cancelled) AS cancelled,
  countIf(refusal = 'filtered') AS filtered, countIf(refusal = 'declined') AS declined,
  countIf(refusal = 'declined_text') AS declined_text, countIf(e.truncated) AS truncated,
  countIf(e.context_overflow) AS context_overflow, countIf(finish_reason = 'tool_calls') AS tool_requests,
  countIf(finish_reason = 'tool_calls' AND e.tool_invalid_json + e.tool_unknown_name + e.tool_schema_mismatch = 0)
    AS tool_requests_ok,
  sum(e.tools_called) AS tools_called, sum(e.tool_invalid_json) AS tool_invalid_json,
  sum(e.tool_unknown_name) AS tool_unknown_name, sum(e.tool_schema_mismatch) AS tool_schema_mismatch,
  countIf(tool_choice IN ('required', 'named')) AS tools_demanded,
  countIf(tool_choice IN ('required', 'named') AND outcome = 'ok' AND e.tools_called = 0) AS tools_ignored,
  quantilesBFloat16(0.5, 0.95, 0.99)(e.latency_us) AS latency_us, quantilesBFloat16(0.5, 0.95, 0.99)(e.ttft_us) AS ttft_us,
  uniqCombined64(account_id) AS accounts
FROM e GROUP BY hour, model, variant, simulated;

INSERT INTO FUNCTION file('{out}/endpoints_by_minute.parquet', 'Parquet')
SELECT toStartOfMinute(ts) AS minute, provider, endpoint, model, region, simulated, count() AS requests,
  sum(e.prompt_tokens) AS prompt_tokens, sum(e.completion_tokens) AS completion_tokens,
  sum(e.cached_tokens) AS cached_tokens, sum(e.cost_nanousd) AS cost_nanousd, countIf(outcome = 'ok') AS attempts_ok,
  countIf(outcome = 'error' AND status NOT IN (400, 403, 413, 429)) AS attempts_failed,
  countIf(status = 429) AS rate_limited, countIf(refusal <> 'none') AS refused,
  countIf(finish_reason = 'tool_calls') AS tool_requests,
  countIf(finish_reason = 'tool_calls' AND tool_invalid_json + tool_unknown_name + tool_schema_mismatch = 0)
    AS tool_requests_ok,
  sum(e.overhead_us) AS overhead_us,
  quantilesBFloat16(0.5, 0.95, 0.99)(e.latency_us) AS latency_us, quantilesBFloat16(0.5, 0.95, 0.99)(e.ttft_us) AS ttft_us,
  quantilesBFloat16(0.5, 0.95, 0.99)(if(streamed AND e.completion_tokens >= 16 AND generation_us > 0,
    intDiv(e.completion_tokens * 1000000000, generation_us), NULL)) AS throughput_mtps
FROM e WHERE provider <> '' GROUP BY minute, provider, endpoint, model, region, simulated;

INSERT INTO FUNCTION file('{out}/apps_by_hour.parquet', 'Parquet')
SELECT toStartOfHour(ts) AS hour, app, model, simulated, count() AS requests, sum(e.prompt_tokens) AS prompt_tokens,
  sum(e.completion_tokens) AS completion_tokens, sum(e.cost_nanousd) AS cost_nanousd, uniqCombined64(account_id) AS accounts
FROM e WHERE app <> '' GROUP BY hour, app, model, simulated;

INSERT INTO FUNCTION file('{out}/accounts_by_day.parquet', 'Parquet')
SELECT toStartOfDay(ts) AS day, account_id, app, model, if(e.variant = 'free', 'free', '') AS variant, provider, simulated,
  count() AS requests, sum(e.prompt_tokens) AS prompt_tokens, sum(e.completion_tokens) AS completion_tokens,
  sum(e.reasoning_tokens) AS reasoning_tokens, sum(e.cached_tokens) AS cached_tokens, sum(e.cost_nanousd) AS cost_nanousd
FROM e GROUP BY day, account_id, app, model, variant, provider, simulated;

INSERT INTO FUNCTION file('{out}/failed_attempts_by_minute.parquet', 'Parquet')
SELECT toStartOfMinute(ts) AS minute, a.provider AS provider, a.endpoint AS endpoint, a.model AS model, a.region AS region,
  simulated, count() AS attempts, countIf(a.status NOT IN (400, 403, 413, 429)) AS attempts_failed,
  countIf(a.status = 429) AS rate_limited, sum(a.cost_nanousd) AS cost_nanousd,
  quantilesBFloat16(0.5, 0.95, 0.99)(a.latency_us) AS latency_us
FROM (SELECT ts, simulated, arrayJoin(failed_attempts) AS a FROM e WHERE notEmpty(failed_attempts))
GROUP BY minute, provider, endpoint, model, region, simulated;
