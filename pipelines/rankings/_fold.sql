-- Ranks the cells of any board. Reads `account_volumes`, the result of _accounts.sql.
--
--   $metric        tokens, requests, spend, accounts or capped: what ranks
--   $cap           capped: an account's tokens in one cell count up to this many
--   $min_accounts  a cell of fewer distinct accounts is not shown
--   $dominance     nor one in which a single account has more than this share of the tokens
--   $limit         nor one beyond this rank
--
-- What is not shown is summed up in `other`, pinned last and without a rank. Ties are alphabetical.
WITH capped AS (
  SELECT *, CASE WHEN tokens > $cap THEN CAST($cap AS BIGINT) ELSE tokens END AS capped_tokens
  FROM account_volumes
),
valued AS (
  SELECT *,
    CASE WHEN $metric = 'requests' THEN requests
      WHEN $metric = 'spend' THEN spend_nanousd
      WHEN $metric = 'accounts' THEN CAST(1 AS BIGINT)
      WHEN $metric = 'capped' THEN capped_tokens
      ELSE tokens END                                           AS counted
  FROM capped
),
cells AS (
  SELECT
    key,
    min(name)                                                   AS name,
    max(earlier_windows)                                        AS earlier_windows,
    coalesce(sum(counted) FILTER (WHERE windows_ago = 0), 0)    AS counted,
    coalesce(sum(counted) FILTER (WHERE windows_ago > 0), 0)    AS counted_before,
    coalesce(sum(tokens) FILTER (WHERE windows_ago = 0), 0)     AS tokens,
    coalesce(sum(requests) FILTER (WHERE windows_ago = 0), 0)   AS requests,
    coalesce(sum(spend_nanousd) FILTER (WHERE windows_ago = 0), 0) AS spend_nanousd,
    coalesce(sum(capped_tokens) FILTER (WHERE windows_ago = 0), 0) AS capped_tokens,
    coalesce(sum(simulated_requests) FILTER (WHERE windows_ago = 0), 0) AS simulated_requests,
    coalesce(max(tokens) FILTER (WHERE windows_ago = 0), 0)     AS top_account_tokens,
    count(DISTINCT account_id) FILTER (WHERE windows_ago = 0)   AS accounts
  FROM valued
  GROUP BY key
),
scored AS (
  -- Window minus mean of the earlier ones, times their number: an integer, so that equal cells tie exactly.
  SELECT *,
    CASE WHEN earlier_windows > 0 THEN counted * earlier_windows - counted_before ELSE counted END AS score
  FROM cells
),
listed AS (
  SELECT *,
    key <> '' AND score > 0
      AND accounts >= $min_accounts
      AND top_account_tokens <= CAST($dominance AS DOUBLE) * tokens AS listable
  FROM scored
  WHERE earlier_windows = 0 OR score > 0
),
positioned AS (
  SELECT *, row_number() OVER (PARTITION BY listable ORDER BY score DESC, key) AS position
  FROM listed
),
placed AS (
  SELECT *, CASE WHEN listable AND position <= $limit THEN CAST(position AS BIGINT) END AS place
  FROM positioned
),
folded AS (
  -- Distinct counts do not add up: the accounts of `other` are counted anew.
  SELECT count(DISTINCT v.account_id) AS accounts
  FROM account_volumes v
  JOIN placed p ON p.key = v.key
  WHERE p.place IS NULL AND v.windows_ago = 0
),
total AS (
  SELECT CASE WHEN $metric = 'accounts' THEN count(DISTINCT account_id) ELSE coalesce(sum(counted), 0) END AS counted
  FROM valued
  WHERE windows_ago = 0
),
shown AS (
  SELECT
    place,
    key, name, counted, tokens, requests, spend_nanousd, capped_tokens, simulated_requests, accounts,
    earlier_windows, score, counted_before
  FROM placed
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
    -- Growth in distinct accounts cannot be summed either: none is given.
    CASE WHEN $metric = 'accounts' THEN CAST(0 AS BIGINT) ELSE max(p.earlier_windows) END AS earlier_windows,
    sum(p.score)                                                AS score,
    sum(p.counted_before)                                       AS counted_before
  FROM placed p CROSS JOIN folded f
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
