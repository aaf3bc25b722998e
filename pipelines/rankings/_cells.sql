-- First step of every board: which cell each flow counts for. Reads `board`, the board's own rows, and `flows`.
-- A cell is a key as a number: from here on numbers are compared, and texts only where there is one row for each.
-- earlier_windows: how many equal windows before its own the board compares with; 0 for a board that only ranks.
SELECT
  b.flow                                                        AS flow,
  CAST(dense_rank() OVER (ORDER BY b.key) AS BIGINT)            AS cell,
  b.key                                                         AS key,
  b.name                                                        AS name,
  CAST(b.earlier_windows AS BIGINT)                             AS earlier_windows,
  f.simulated                                                   AS simulated
FROM board b JOIN flows f ON f.flow = b.flow
