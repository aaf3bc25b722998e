-- First step of every board: its rows, summed by key, account and window. Reads `volumes`, the board's own rows.
-- windows_ago: 0 is the window that is ranked, 1 and up are the equal ones before it that it is compared with.
-- earlier_windows: how many of those the board compares with; 0 for a board that only ranks.
--
--   $metric  tokens, requests, spend, accounts or capped: what ranks
--   $cap     capped: an account's tokens under one key and in one window count up to this many
WITH summed AS (
  SELECT
    key,
    min(name)                                                   AS name,
    account_id,
    CAST(windows_ago AS BIGINT)                                 AS windows_ago,
    CAST(max(earlier_windows) AS BIGINT)                        AS earlier_windows,
    CAST(sum(tokens) AS BIGINT)                                 AS tokens,
    CAST(sum(requests) AS BIGINT)                               AS requests,
    CAST(sum(spend_nanousd) AS BIGINT)                          AS spend_nanousd,
    CAST(sum(CASE WHEN simulated THEN requests ELSE 0 END) AS BIGINT) AS simulated_requests
  FROM volumes
  GROUP BY key, account_id, windows_ago
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
