-- Apps by hour: which application sends what to which model.
SELECT
  date_trunc('hour', ts)                                        AS hour,
  app,
  model,
  simulated,
  count(*)                                                      AS requests,
  sum(prompt_tokens)                                            AS prompt_tokens,
  sum(completion_tokens)                                        AS completion_tokens,
  sum(cost_nanousd)                                             AS cost_nanousd,
  bottom_k(account_id, 1024)                                    AS accounts
FROM usage_events
WHERE app <> ''
GROUP BY 1, 2, 3, 4
