-- The rollups of pipelines/rollups as one job of Apache Flink, for run.py, which fills in what stands in braces.
-- Latencies as three percentiles in the place of histograms, accounts as an exact number in the place of a sketch. Results go nowhere.
SET 'execution.target' = 'local';
SET 'execution.runtime-mode' = 'streaming';
SET 'parallelism.default' = '{parallelism}';
SET 'table.dml-sync' = 'true';

CREATE TABLE arriving (
  ts BIGINT NOT NULL,
  account_id STRING NOT NULL,
  app STRING NOT NULL,
  streamed BOOLEAN NOT NULL,
  model STRING NOT NULL,
  `variant` STRING NOT NULL,
  provider STRING NOT NULL,
  endpoint STRING NOT NULL,
  region STRING NOT NULL,
  prompt_tokens BIGINT NOT NULL,
  cached_tokens BIGINT NOT NULL,
  completion_tokens BIGINT NOT NULL,
  reasoning_tokens BIGINT NOT NULL,
  cost_nanousd BIGINT NOT NULL,
  ttft_us BIGINT,
  latency_us BIGINT NOT NULL,
  generation_us BIGINT,
  overhead_us BIGINT NOT NULL,
  outcome STRING NOT NULL,
  status INT NOT NULL,
  finish_reason STRING NOT NULL,
  refusal STRING NOT NULL,
  tool_choice STRING NOT NULL,
  tools_called INT NOT NULL,
  tool_invalid_json INT NOT NULL,
  tool_unknown_name INT NOT NULL,
  tool_schema_mismatch INT NOT NULL,
  truncated BOOLEAN NOT NULL,
  context_overflow BOOLEAN NOT NULL,
  cancelled BOOLEAN NOT NULL,
  failed_attempts ARRAY<ROW<provider STRING NOT NULL, endpoint STRING NOT NULL, region STRING NOT NULL, model STRING NOT NULL,
    status INT NOT NULL, latency_us BIGINT NOT NULL, cost_nanousd BIGINT NOT NULL> NOT NULL> NOT NULL,
  simulated BOOLEAN NOT NULL,
  arrived AS TO_TIMESTAMP_LTZ(ts / 1000, 3),
  WATERMARK FOR arrived AS arrived - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka',
  'topic' = '{topic}',
  'properties.bootstrap.servers' = '{brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'format' = 'avro-confluent',
  'avro-confluent.url' = '{registry}'
);

CREATE VIEW usage_events AS
SELECT *, CASE WHEN `variant` = 'free' THEN 'free' ELSE '' END AS paid_or_free FROM arriving;

CREATE VIEW attempts AS
SELECT arrived, simulated, a.* FROM arriving CROSS JOIN UNNEST(failed_attempts)
  AS a (provider, endpoint, region, model, status, latency_us, cost_nanousd);

CREATE TABLE models_by_hour (
  since TIMESTAMP(3), model STRING, `variant` STRING, simulated BOOLEAN, requests BIGINT, prompt_tokens BIGINT, completion_tokens BIGINT,
  cached_tokens BIGINT, reasoning_tokens BIGINT, cost_nanousd BIGINT, answered BIGINT, errors BIGINT, cancelled BIGINT, filtered BIGINT,
  declined BIGINT, declined_text BIGINT, truncated BIGINT, context_overflow BIGINT, tool_requests BIGINT, tool_requests_ok BIGINT,
  tools_called INT, tool_invalid_json INT, tool_unknown_name INT, tool_schema_mismatch INT, tools_demanded BIGINT, tools_ignored BIGINT,
  latency_us ARRAY<DOUBLE>, ttft_us ARRAY<DOUBLE>, accounts BIGINT
) WITH ('connector' = 'blackhole');

CREATE TABLE accounts_by_day (
  since TIMESTAMP(3), account_id STRING, app STRING, model STRING, `variant` STRING, provider STRING, simulated BOOLEAN, requests BIGINT,
  prompt_tokens BIGINT, completion_tokens BIGINT, reasoning_tokens BIGINT, cached_tokens BIGINT, cost_nanousd BIGINT
) WITH ('connector' = 'blackhole');

CREATE TABLE apps_by_hour (
  since TIMESTAMP(3), app STRING, model STRING, simulated BOOLEAN, requests BIGINT, prompt_tokens BIGINT, completion_tokens BIGINT,
  cost_nanousd BIGINT, accounts BIGINT
) WITH ('connector' = 'blackhole');

CREATE TABLE endpoints_by_minute (
  since TIMESTAMP(3), provider STRING, endpoint STRING, model STRING, region STRING, simulated BOOLEAN, requests BIGINT,
  prompt_tokens BIGINT, completion_tokens BIGINT, cached_tokens BIGINT, cost_nanousd BIGINT, attempts_ok BIGINT, attempts_failed BIGINT,
  rate_limited BIGINT, refused BIGINT, tool_requests BIGINT, tool_requests_ok BIGINT, overhead_us BIGINT, latency_us ARRAY<DOUBLE>,
  ttft_us ARRAY<DOUBLE>, throughput_mtps ARRAY<DOUBLE>
) WITH ('connector' = 'blackhole');

CREATE TABLE failed_attempts_by_minute (
  since TIMESTAMP(3), provider STRING, endpoint STRING, model STRING, region STRING, simulated BOOLEAN, attempts BIGINT,
  attempts_failed BIGINT, rate_limited BIGINT, cost_nanousd BIGINT, latency_us ARRAY<DOUBLE>
) WITH ('connector' = 'blackhole');

CREATE TABLE refusals_by_minute (
  since TIMESTAMP(3), provider STRING, endpoint STRING, model STRING, region STRING, simulated BOOLEAN, filtered BIGINT,
  declined BIGINT, declined_text BIGINT, not_ok BIGINT
) WITH ('connector' = 'blackhole');

EXECUTE STATEMENT SET
BEGIN
INSERT INTO models_by_hour
SELECT
  window_start, model, paid_or_free, simulated, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens),
  sum(reasoning_tokens), sum(cost_nanousd),
  count(*) FILTER (WHERE outcome = 'ok'), count(*) FILTER (WHERE outcome = 'error'), count(*) FILTER (WHERE cancelled),
  count(*) FILTER (WHERE refusal = 'filtered'), count(*) FILTER (WHERE refusal = 'declined'),
  count(*) FILTER (WHERE refusal = 'declined_text'), count(*) FILTER (WHERE truncated), count(*) FILTER (WHERE context_overflow),
  count(*) FILTER (WHERE finish_reason = 'tool_calls'),
  count(*) FILTER (WHERE finish_reason = 'tool_calls' AND tool_invalid_json + tool_unknown_name + tool_schema_mismatch = 0),
  sum(tools_called), sum(tool_invalid_json), sum(tool_unknown_name), sum(tool_schema_mismatch),
  count(*) FILTER (WHERE tool_choice IN ('required', 'named')),
  count(*) FILTER (WHERE tool_choice IN ('required', 'named') AND outcome = 'ok' AND tools_called = 0),
  percentile(latency_us, ARRAY[0.5, 0.95, 0.99]), percentile(ttft_us, ARRAY[0.5, 0.95, 0.99]), count(DISTINCT account_id)
FROM TABLE(TUMBLE(TABLE usage_events, DESCRIPTOR(arrived), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, model, paid_or_free, simulated;

INSERT INTO accounts_by_day
SELECT
  window_start, account_id, app, model, paid_or_free, provider, simulated, count(*), sum(prompt_tokens), sum(completion_tokens),
  sum(reasoning_tokens), sum(cached_tokens), sum(cost_nanousd)
FROM TABLE(TUMBLE(TABLE usage_events, DESCRIPTOR(arrived), INTERVAL '1' DAY))
GROUP BY window_start, window_end, account_id, app, model, paid_or_free, provider, simulated;

INSERT INTO apps_by_hour
SELECT
  window_start, app, model, simulated, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost_nanousd),
  count(DISTINCT account_id)
FROM TABLE(TUMBLE(TABLE usage_events, DESCRIPTOR(arrived), INTERVAL '1' HOUR))
WHERE app <> ''
GROUP BY window_start, window_end, app, model, simulated;

INSERT INTO endpoints_by_minute
SELECT
  window_start, provider, endpoint, model, region, simulated, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens),
  sum(cost_nanousd), count(*) FILTER (WHERE outcome = 'ok'),
  count(*) FILTER (WHERE outcome = 'error' AND status NOT IN (400, 403, 413, 429)), count(*) FILTER (WHERE status = 429),
  count(*) FILTER (WHERE refusal <> 'none'), count(*) FILTER (WHERE finish_reason = 'tool_calls'),
  count(*) FILTER (WHERE finish_reason = 'tool_calls' AND tool_invalid_json + tool_unknown_name + tool_schema_mismatch = 0),
  sum(overhead_us), percentile(latency_us, ARRAY[0.5, 0.95, 0.99]), percentile(ttft_us, ARRAY[0.5, 0.95, 0.99]),
  percentile(CASE WHEN streamed AND completion_tokens >= 16 AND generation_us > 0
    THEN completion_tokens * 1000000000 / generation_us END, ARRAY[0.5, 0.95, 0.99])
FROM TABLE(TUMBLE(TABLE usage_events, DESCRIPTOR(arrived), INTERVAL '1' MINUTE))
WHERE provider <> ''
GROUP BY window_start, window_end, provider, endpoint, model, region, simulated;

INSERT INTO failed_attempts_by_minute
SELECT
  window_start, provider, endpoint, model, region, simulated, count(*),
  count(*) FILTER (WHERE status NOT IN (400, 403, 413, 429)), count(*) FILTER (WHERE status = 429), sum(cost_nanousd),
  percentile(latency_us, ARRAY[0.5, 0.95, 0.99])
FROM TABLE(TUMBLE(TABLE attempts, DESCRIPTOR(arrived), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, provider, endpoint, model, region, simulated;

INSERT INTO refusals_by_minute
SELECT
  window_start, provider, endpoint, model, region, simulated, count(*) FILTER (WHERE refusal = 'filtered'),
  count(*) FILTER (WHERE refusal = 'declined'), count(*) FILTER (WHERE refusal = 'declined_text'), count(*) FILTER (WHERE outcome <> 'ok')
FROM TABLE(TUMBLE(TABLE usage_events, DESCRIPTOR(arrived), INTERVAL '1' MINUTE))
WHERE provider <> '' AND refusal <> 'none'
GROUP BY window_start, window_end, provider, endpoint, model, region, simulated;
END;
