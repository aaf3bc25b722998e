-- What a board's window holds in all, whether it has a place or not. Reads `account_volumes`.
SELECT
  coalesce(sum(tokens), 0)                                      AS tokens,
  coalesce(sum(requests), 0)                                    AS requests,
  coalesce(sum(spend_nanousd), 0)                               AS spend_nanousd,
  count(DISTINCT account)                                       AS accounts,
  coalesce(sum(capped_tokens), 0)                               AS capped_tokens,
  coalesce(sum(simulated_requests), 0)                          AS simulated_requests,
  CASE WHEN sum(requests) > 0
    THEN CAST(sum(simulated_requests) AS DOUBLE) / CAST(sum(requests) AS DOUBLE) ELSE 0.0 END AS simulated_share
FROM account_volumes
WHERE windows_ago = 0
