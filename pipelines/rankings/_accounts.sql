-- Second step of every board: volumes, summed by cell, account and window. Reads `volumes` and `cells`.
-- windows_ago: 0 is the window that is ranked, 1 and up are the equal ones before it that it is compared with.
--
--   $oldest  where the oldest window begins that the board looks at
--   $metric  tokens, requests, spend, accounts or capped: what ranks
--   $cap     capped: an account's tokens in one cell and window count up to this many
WITH summed AS (
  SELECT
    c.cell                                                      AS cell,
    v.account                                                   AS account,
    CASE WHEN v.day >= $since THEN 0
      WHEN v.day >= $before_1 THEN 1
      WHEN v.day >= $before_2 THEN 2
      ELSE 3 END                                                AS windows_ago,
    CAST(sum(v.prompt_tokens + v.completion_tokens) AS BIGINT)  AS tokens,
    CAST(sum(v.requests) AS BIGINT)                             AS requests,
    CAST(sum(v.cost_nanousd) AS BIGINT)                         AS spend_nanousd,
    CAST(sum(CASE WHEN c.simulated THEN v.requests ELSE 0 END) AS BIGINT) AS simulated_requests
  FROM volumes v JOIN cells c ON c.flow = v.flow
  WHERE v.day >= $oldest AND v.day < $until
  GROUP BY 1, 2, 3
),
capped AS (
  SELECT *, CASE WHEN tokens > $cap THEN CAST($cap AS BIGINT) ELSE tokens END AS capped_tokens
  FROM summed
)
SELECT *,
  -- Every metric is a sum of this over accounts.
  CASE WHEN $metric = 'requests' THEN requests
    WHEN $metric = 'spend' THEN spend_nanousd
    WHEN $metric = 'accounts' THEN CAST(1 AS BIGINT)
    WHEN $metric = 'capped' THEN capped_tokens
    ELSE tokens END                                             AS counted
FROM capped
