-- How endpoints, providers and models have done lately. Reads what is held in memory of the rollups: the last half hour by
-- minute (with histograms), the last day by half hour (without).
--
--   $by         endpoint (and region), provider or model
--   $last_5m    where the windows of five minutes, half an hour, two hours and a day begin; the first two at a whole minute, the
--   $last_30m   other two at a whole half hour
--   $last_2h
--   $last_1d
--   $enough     an uptime out of fewer attempts than this is not given
--
-- Attempts measure who served: a try that failed counts for its endpoint and provider even where the request went on and
-- succeeded elsewhere. A model is measured by its requests, each once, by how it ended.
WITH tries AS (
  SELECT minute AS began, true AS by_minute, true AS is_last, provider, endpoint, model, region, simulated,
    requests AS attempts, attempts_ok AS ok, attempts_failed AS failed, rate_limited, tool_requests, tool_requests_ok
  FROM endpoints_by_minute
  UNION ALL
  SELECT minute, true, false, provider, endpoint, model, region, simulated,
    attempts, 0, attempts_failed, rate_limited, 0, 0
  FROM failed_attempts_by_minute
  UNION ALL
  SELECT minute, false, true, provider, endpoint, model, region, simulated,
    requests, attempts_ok, attempts_failed, rate_limited, tool_requests, tool_requests_ok
  FROM endpoints_by_half_hour
  UNION ALL
  SELECT minute, false, false, provider, endpoint, model, region, simulated,
    attempts, 0, attempts_failed, rate_limited, 0, 0
  FROM failed_attempts_by_half_hour
),
-- Whom each counts for, and in which windows.
placed AS (
  SELECT *,
    CASE WHEN $by = 'endpoint' THEN endpoint WHEN $by = 'provider' THEN provider ELSE model END AS key,
    CASE WHEN $by = 'endpoint' THEN region ELSE '' END          AS place,
    by_minute AND began >= $last_5m                             AS last_5m,
    by_minute AND began >= $last_30m                            AS last_30m,
    NOT by_minute AND began >= $last_2h                         AS last_2h,
    NOT by_minute                                               AS last_1d
  FROM tries
  WHERE provider <> '' AND began >= $last_1d AND (is_last OR $by <> 'model')
),
counts AS (
  SELECT
    key,
    place,
    sum(ok) FILTER (WHERE last_5m)                              AS ok_5m,
    sum(failed) FILTER (WHERE last_5m)                          AS failed_5m,
    sum(rate_limited) FILTER (WHERE last_5m)                    AS rate_limited_5m,
    sum(attempts) FILTER (WHERE last_30m)                       AS attempts_30m,
    sum(ok) FILTER (WHERE last_30m)                             AS ok_30m,
    sum(failed) FILTER (WHERE last_30m)                         AS failed_30m,
    sum(rate_limited) FILTER (WHERE last_30m)                   AS rate_limited_30m,
    sum(ok) FILTER (WHERE last_2h)                              AS ok_2h,
    sum(tool_requests) FILTER (WHERE last_2h)                   AS tool_requests_2h,
    sum(tool_requests_ok) FILTER (WHERE last_2h)                AS tool_requests_ok_2h,
    sum(attempts) FILTER (WHERE last_1d)                        AS attempts_1d,
    sum(attempts) FILTER (WHERE last_1d AND simulated)          AS simulated_1d,
    sum(ok) FILTER (WHERE last_1d)                              AS ok_1d,
    sum(failed) FILTER (WHERE last_1d)                          AS failed_1d,
    sum(rate_limited) FILTER (WHERE last_1d)                    AS rate_limited_1d,
    sum(tool_requests) FILTER (WHERE last_1d)                   AS tool_requests_1d,
    sum(tool_requests_ok) FILTER (WHERE last_1d)                AS tool_requests_ok_1d
  FROM placed
  GROUP BY key, place
),
refused AS (
  SELECT *,
    CASE WHEN $by = 'endpoint' THEN endpoint WHEN $by = 'provider' THEN provider ELSE model END AS key,
    CASE WHEN $by = 'endpoint' THEN region ELSE '' END          AS place,
    minute >= $last_2h                                          AS last_2h
  FROM refusals_by_half_hour
  WHERE minute >= $last_1d
),
refusals AS (
  SELECT
    key,
    place,
    sum(filtered + declined + declined_text) FILTER (WHERE last_2h) AS refused_2h,
    sum(filtered)                                               AS filtered_1d,
    sum(declined)                                               AS declined_1d,
    sum(declined_text)                                          AS declined_text_1d,
    sum(not_ok)                                                 AS refused_not_ok_1d
  FROM refused
  GROUP BY key, place
),
-- Failed attempts have no speed.
timed AS (
  SELECT
    CASE WHEN $by = 'endpoint' THEN endpoint WHEN $by = 'provider' THEN provider ELSE model END AS key,
    CASE WHEN $by = 'endpoint' THEN region ELSE '' END          AS place,
    minute >= $last_5m                                          AS last_5m,
    ttft_us,
    throughput_mtps
  FROM endpoints_by_minute
  WHERE minute >= $last_30m
),
speeds AS (
  SELECT
    key,
    place,
    histogram_merge(ttft_us) FILTER (WHERE last_5m)             AS ttft_5m,
    histogram_merge(throughput_mtps) FILTER (WHERE last_5m)     AS throughput_5m,
    histogram_merge(ttft_us)                                    AS ttft_30m,
    histogram_merge(throughput_mtps)                            AS throughput_30m
  FROM timed
  GROUP BY key, place
),
measured AS (
  SELECT
    c.key                                                         AS key,
    c.place                                                       AS region,
    c.ok_5m, c.failed_5m, c.rate_limited_5m,
    c.ok_30m, c.failed_30m, c.rate_limited_30m, c.attempts_30m,
    c.ok_2h, c.tool_requests_2h, c.tool_requests_ok_2h, r.refused_2h,
    c.ok_1d, c.failed_1d, c.rate_limited_1d, c.attempts_1d, c.simulated_1d, c.tool_requests_1d, c.tool_requests_ok_1d,
    r.filtered_1d, r.declined_1d, r.declined_text_1d,
    c.ok_1d + coalesce(r.refused_not_ok_1d, 0)                    AS answered_1d,
    CASE WHEN c.ok_5m + c.failed_5m >= $enough
      THEN CAST(c.ok_5m AS DOUBLE) / (c.ok_5m + c.failed_5m) END  AS uptime_5m,
    CASE WHEN c.ok_30m + c.failed_30m >= $enough
      THEN CAST(c.ok_30m AS DOUBLE) / (c.ok_30m + c.failed_30m) END AS uptime_30m,
    CASE WHEN c.ok_1d + c.failed_1d >= $enough
      THEN CAST(c.ok_1d AS DOUBLE) / (c.ok_1d + c.failed_1d) END  AS uptime_1d,
    CASE WHEN c.attempts_30m > 0
      THEN CAST(c.rate_limited_30m AS DOUBLE) / c.attempts_30m END AS rate_limited_share_30m,
    CASE WHEN c.ok_1d + coalesce(r.refused_not_ok_1d, 0) > 0
      THEN CAST(coalesce(r.declined_1d + r.declined_text_1d, 0) AS DOUBLE)
        / (c.ok_1d + coalesce(r.refused_not_ok_1d, 0)) END        AS refusal_rate_1d,
    CASE WHEN c.ok_1d + coalesce(r.refused_not_ok_1d, 0) > 0
      THEN CAST(coalesce(r.filtered_1d, 0) AS DOUBLE)
        / (c.ok_1d + coalesce(r.refused_not_ok_1d, 0)) END        AS filter_rate_1d,
    CASE WHEN c.tool_requests_1d > 0
      THEN CAST(c.tool_requests_ok_1d AS DOUBLE) / c.tool_requests_1d END AS tool_success_1d,
    quantile(s.ttft_5m, 0.5)                                      AS ttft_5m_p50,
    quantile(s.throughput_5m, 0.5)                                AS throughput_5m_p50,
    coalesce(samples(s.ttft_30m), 0)                              AS ttft_30m_samples,
    quantile(s.ttft_30m, 0.5)                                     AS ttft_30m_p50,
    quantile(s.ttft_30m, 0.75)                                    AS ttft_30m_p75,
    quantile(s.ttft_30m, 0.9)                                     AS ttft_30m_p90,
    quantile(s.ttft_30m, 0.99)                                    AS ttft_30m_p99,
    coalesce(samples(s.throughput_30m), 0)                        AS throughput_30m_samples,
    -- The slow end is what hurts: 99 of 100 answers are at least as quick as p99 says.
    quantile(s.throughput_30m, 0.5)                               AS throughput_30m_p50,
    quantile(s.throughput_30m, 0.25)                              AS throughput_30m_p75,
    quantile(s.throughput_30m, 0.1)                               AS throughput_30m_p90,
    quantile(s.throughput_30m, 0.01)                              AS throughput_30m_p99
  FROM counts c
  LEFT JOIN refusals r ON r.key = c.key AND r.place = c.place
  LEFT JOIN speeds s ON s.key = c.key AND s.place = c.place
)
SELECT *,
  -- 0 well or not known, -1 degraded, -2 for when nothing else is left.
  CASE WHEN uptime_30m < 0.80 THEN -2 WHEN uptime_30m < 0.95 THEN -1 ELSE 0 END AS status
FROM measured
ORDER BY key, region
