-- Refusals by endpoint, the kinds apart: a filter's stop is not a model's refusal. Only requests that were refused: a small table.
SELECT
  date_trunc('minute', ts)                                      AS minute,
  provider,
  endpoint,
  model,
  region,
  simulated,
  count(*) FILTER (WHERE refusal = 'filtered')                  AS filtered,
  count(*) FILTER (WHERE refusal = 'declined')                  AS declined,
  count(*) FILTER (WHERE refusal = 'declined_text')             AS declined_text,
  -- An answer too, but not among the attempts that went well: a prompt that the filter stopped.
  count(*) FILTER (WHERE outcome <> 'ok')                       AS not_ok
FROM usage_events
WHERE provider <> '' AND refusal <> 'none'
GROUP BY 1, 2, 3, 4, 5, 6
