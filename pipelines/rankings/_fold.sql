-- Last step of every board: the cells that have a place, then `other` with the sums of those that have none.
-- Reads `places` and `account_volumes`.
--
--   $metric  distinct accounts do not add up: those of `other` and of the total are counted anew
WITH folded AS (
  SELECT count(DISTINCT v.account) AS accounts
  FROM account_volumes v
  JOIN places p ON p.cell = v.cell
  WHERE p.place IS NULL AND v.windows_ago = 0
),
total AS (
  SELECT CASE WHEN $metric = 'accounts' THEN count(DISTINCT account) ELSE coalesce(sum(counted), 0) END AS counted
  FROM account_volumes
  WHERE windows_ago = 0
),
shown AS (
  SELECT
    place, key, name, counted, tokens, requests, spend_nanousd, capped_tokens, simulated_requests, accounts,
    earlier_windows, score, counted_before
  FROM places
  WHERE place IS NOT NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT)                                        AS place,
    'other'                                                     AS key,
    'Other'                                                     AS name,
    CASE WHEN $metric = 'accounts' THEN max(f.accounts) ELSE sum(p.counted) END AS counted,
    sum(p.tokens)                                               AS tokens,
    sum(p.requests)                                             AS requests,
    sum(p.spend_nanousd)                                        AS spend_nanousd,
    sum(p.capped_tokens)                                        AS capped_tokens,
    sum(p.simulated_requests)                                   AS simulated_requests,
    max(f.accounts)                                             AS accounts,
    -- Nor does growth in distinct accounts: none is given.
    CASE WHEN $metric = 'accounts' THEN CAST(0 AS BIGINT) ELSE max(p.earlier_windows) END AS earlier_windows,
    sum(p.score)                                                AS score,
    sum(p.counted_before)                                       AS counted_before
  FROM places p CROSS JOIN folded f
  WHERE p.place IS NULL
)
SELECT
  s.place                                                       AS place,
  s.key                                                         AS key,
  s.name                                                        AS name,
  s.tokens                                                      AS tokens,
  s.requests                                                    AS requests,
  s.spend_nanousd                                               AS spend_nanousd,
  s.accounts                                                    AS accounts,
  s.capped_tokens                                               AS capped_tokens,
  s.simulated_requests                                          AS simulated_requests,
  CASE WHEN t.counted > 0 THEN CAST(s.counted AS DOUBLE) / CAST(t.counted AS DOUBLE) ELSE 0.0 END AS share,
  CASE WHEN s.earlier_windows > 0
    THEN CAST(s.score AS DOUBLE) / CAST(s.earlier_windows AS DOUBLE) END AS growth,
  CASE WHEN s.earlier_windows > 0 AND s.counted_before > 0
    THEN 100.0 * CAST(s.score AS DOUBLE) / CAST(s.counted_before AS DOUBLE) END AS growth_percent
FROM shown s CROSS JOIN total t
WHERE s.counted > 0
ORDER BY s.place ASC NULLS LAST
