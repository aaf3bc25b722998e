-- Models that grow: the window minus the mean of the three equal windows before it.
-- The window's last day is today, which is still running: growth is understated until the day is over, never invented.
SELECT
  CASE WHEN a.variant = 'free' AND a.model <> '' THEN a.model || ':free' ELSE a.model END AS key,
  CASE WHEN a.variant = 'free' THEN coalesce(m.name, a.model) || ' (free)'
    ELSE coalesce(m.name, a.model) END                          AS name,
  a.account_id                                                  AS account_id,
  a.simulated                                                   AS simulated,
  CASE WHEN a.day >= $since THEN 0
    WHEN a.day >= $before_1 THEN 1
    WHEN a.day >= $before_2 THEN 2
    ELSE 3 END                                                  AS windows_ago,
  3                                                             AS earlier_windows,
  a.prompt_tokens + a.completion_tokens                         AS tokens,
  a.requests                                                    AS requests,
  a.cost_nanousd                                                AS spend_nanousd
FROM accounts_by_day a
LEFT JOIN catalog_models m ON m.model = a.model
WHERE a.day >= $before_3 AND a.day < $until
