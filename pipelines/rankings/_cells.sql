-- First step of every board: which cell each flow counts for. Reads `board`, the board's own rows, and `flows`.
-- A cell is a key as a number: from here on numbers are compared, and texts only where there is one row for each.
-- earlier_windows: how many equal windows before its own the board compares with; 0 for a board that only ranks.
WITH numbered AS (
  -- Which number a key has says nothing: sorting them would only take time.
  SELECT key, CAST(row_number() OVER () AS BIGINT)              AS cell
  FROM (SELECT DISTINCT key FROM board)
)
SELECT
  b.flow                                                        AS flow,
  n.cell                                                        AS cell,
  b.key                                                         AS key,
  b.name                                                        AS name,
  CAST(b.earlier_windows AS BIGINT)                             AS earlier_windows,
  f.simulated                                                   AS simulated
FROM board b
JOIN flows f ON f.flow = b.flow
JOIN numbered n ON n.key IS NOT DISTINCT FROM b.key
