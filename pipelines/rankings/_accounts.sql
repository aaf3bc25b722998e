-- Every board is first summed by key, account and window. Reads `volumes`, the board's own rows.
-- windows_ago: 0 is the window that is ranked, 1 and up are the equal ones before it that it is compared with.
-- earlier_windows: how many of those the board compares with; 0 for a board that only ranks.
SELECT
  key,
  min(name)                                                     AS name,
  account_id,
  CAST(windows_ago AS BIGINT)                                   AS windows_ago,
  CAST(max(earlier_windows) AS BIGINT)                          AS earlier_windows,
  CAST(sum(tokens) AS BIGINT)                                   AS tokens,
  CAST(sum(requests) AS BIGINT)                                 AS requests,
  CAST(sum(spend_nanousd) AS BIGINT)                            AS spend_nanousd,
  CAST(sum(CASE WHEN simulated THEN requests ELSE 0 END) AS BIGINT) AS simulated_requests
FROM volumes
GROUP BY key, account_id, windows_ago
