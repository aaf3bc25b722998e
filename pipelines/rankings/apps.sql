-- Apps by what they send. Requests without an app have no key and are part of `other`.
SELECT
  a.app                                                         AS key,
  a.app                                                         AS name,
  a.account_id                                                  AS account_id,
  a.simulated                                                   AS simulated,
  0                                                             AS windows_ago,
  0                                                             AS earlier_windows,
  a.prompt_tokens + a.completion_tokens                         AS tokens,
  a.requests                                                    AS requests,
  a.cost_nanousd                                                AS spend_nanousd
FROM accounts_by_day a
WHERE a.day >= $since AND a.day < $until
