-- Share of use: $by open or closed weights, author, or the author's country.
SELECT
  CASE WHEN a.model = '' THEN ''
    WHEN $by = 'author' THEN coalesce(m.author, split_part(a.model, '/', 1))
    WHEN $by = 'country' THEN coalesce(nullif(m.country, ''), 'unknown')
    WHEN m.open_weights THEN 'open'
    WHEN NOT m.open_weights THEN 'closed'
    ELSE 'unknown' END                                          AS key,
  CASE WHEN $by = 'author' THEN coalesce(w.name, m.author, split_part(a.model, '/', 1))
    WHEN $by = 'country' THEN coalesce(nullif(m.country, ''), 'Unknown')
    WHEN m.open_weights THEN 'Open weights'
    WHEN NOT m.open_weights THEN 'Closed weights'
    ELSE 'Unknown' END                                          AS name,
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
