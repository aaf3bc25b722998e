-- Third step of every board: the cells with their sums, and their places if they have one. Reads `account_volumes` and `cells`.
--
--   $min_accounts  a cell of fewer distinct accounts has no place
--   $dominance     nor one in which a single account has more than this share of the tokens
--   $limit         nor one beyond this many
--
-- Ties are alphabetical. Cells without a place stay, for `other`, except those that did not grow on a board of growth.
WITH named AS (
  SELECT cell, min(key) AS key, min(name) AS name, max(earlier_windows) AS earlier_windows
  FROM cells
  GROUP BY cell
),
summed AS (
  SELECT
    cell,
    coalesce(sum(counted) FILTER (WHERE windows_ago = 0), 0)    AS counted,
    coalesce(sum(counted) FILTER (WHERE windows_ago > 0), 0)    AS counted_before,
    coalesce(sum(tokens) FILTER (WHERE windows_ago = 0), 0)     AS tokens,
    coalesce(sum(requests) FILTER (WHERE windows_ago = 0), 0)   AS requests,
    coalesce(sum(spend_nanousd) FILTER (WHERE windows_ago = 0), 0) AS spend_nanousd,
    coalesce(sum(capped_tokens) FILTER (WHERE windows_ago = 0), 0) AS capped_tokens,
    coalesce(sum(simulated_requests) FILTER (WHERE windows_ago = 0), 0) AS simulated_requests,
    coalesce(max(tokens) FILTER (WHERE windows_ago = 0), 0)     AS top_account_tokens,
    -- Exact: there is one row per cell, account and window.
    count(*) FILTER (WHERE windows_ago = 0)                     AS accounts
  FROM account_volumes
  GROUP BY cell
),
scored AS (
  -- Window minus mean of the earlier ones, times their number: an integer, so that equal cells tie exactly.
  SELECT s.*, n.key, n.name, n.earlier_windows,
    CASE WHEN n.earlier_windows > 0 THEN s.counted * n.earlier_windows - s.counted_before ELSE s.counted END AS score
  FROM summed s JOIN named n ON n.cell = s.cell
),
judged AS (
  SELECT *,
    key <> '' AND score > 0
      AND accounts >= $min_accounts
      AND top_account_tokens <= CAST($dominance AS DOUBLE) * tokens AS listable
  FROM scored
  WHERE earlier_windows = 0 OR score > 0
),
positioned AS (
  SELECT *, CAST(row_number() OVER (PARTITION BY listable ORDER BY score DESC, key) AS BIGINT) AS position
  FROM judged
)
SELECT
  CASE WHEN listable AND position <= $limit THEN position END   AS place,
  cell, key, name, earlier_windows, counted, counted_before, score,
  tokens, requests, spend_nanousd, capped_tokens, simulated_requests, accounts
FROM positioned
