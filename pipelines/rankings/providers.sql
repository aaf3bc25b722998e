-- Providers by what they served. Requests that reached none have no key and are part of `other`.
SELECT
  a.provider                                                    AS key,
  coalesce(p.name, a.provider)                                  AS name,
  a.account_id                                                  AS account_id,
  a.simulated                                                   AS simulated,
  0                                                             AS windows_ago,
  0                                                             AS earlier_windows,
  a.prompt_tokens + a.completion_tokens                         AS tokens,
  a.requests                                                    AS requests,
  a.cost_nanousd                                                AS spend_nanousd
FROM accounts_by_day a
LEFT JOIN catalog_providers p ON p.provider = a.provider
WHERE a.day >= $since AND a.day < $until
