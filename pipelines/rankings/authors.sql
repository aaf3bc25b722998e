-- Authors by use of their models. Models that are not in the catalog count for the name before their slash.
SELECT
  coalesce(m.author, split_part(a.model, '/', 1))               AS key,
  coalesce(w.name, m.author, split_part(a.model, '/', 1))       AS name,
  a.account_id                                                  AS account_id,
  a.simulated                                                   AS simulated,
  0                                                             AS windows_ago,
  0                                                             AS earlier_windows,
  a.prompt_tokens + a.completion_tokens                         AS tokens,
  a.requests                                                    AS requests,
  a.cost_nanousd                                                AS spend_nanousd
FROM accounts_by_day a
LEFT JOIN catalog_models m ON m.model = a.model
LEFT JOIN catalog_authors w ON w.author = coalesce(m.author, split_part(a.model, '/', 1))
WHERE a.day >= $since AND a.day < $until
