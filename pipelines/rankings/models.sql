-- Models by use. A model's `:free` variant ranks apart from the paid one.
SELECT
  CASE WHEN a.variant = 'free' AND a.model <> '' THEN a.model || ':free' ELSE a.model END AS key,
  CASE WHEN a.variant = 'free' THEN coalesce(m.name, a.model) || ' (free)'
    ELSE coalesce(m.name, a.model) END                          AS name,
  a.account_id                                                  AS account_id,
  a.simulated                                                   AS simulated,
  0                                                             AS windows_ago,
  0                                                             AS earlier_windows,
  a.prompt_tokens + a.completion_tokens                         AS tokens,
  a.requests                                                    AS requests,
  a.cost_nanousd                                                AS spend_nanousd
FROM accounts_by_day a
LEFT JOIN catalog_models m ON m.model = a.model
WHERE a.day >= $since AND a.day < $until
