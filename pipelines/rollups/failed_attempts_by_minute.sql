-- Upstream tries that failed inside requests which went on: counted for the endpoint that failed, never as requests.
SELECT
  date_trunc('minute', ts)                                      AS minute,
  a['provider']                                                 AS provider,
  a['endpoint']                                                 AS endpoint,
  a['model']                                                    AS model,
  a['region']                                                   AS region,
  simulated,
  count(*)                                                      AS attempts,
  count(*) FILTER (WHERE a['status'] NOT IN (400, 403, 413, 429)) AS attempts_failed,
  count(*) FILTER (WHERE a['status'] = 429)                     AS rate_limited,
  sum(a['cost_nanousd'])                                        AS cost_nanousd,
  histogram(a['latency_us'])                                    AS latency_us
FROM (SELECT ts, simulated, unnest(failed_attempts) AS a FROM usage_events)
GROUP BY 1, 2, 3, 4, 5, 6
