-- Accounts by day: exact volumes per account, for bills, caps and dominance. Never shown in public.
SELECT
  date_trunc('day', ts)                                         AS day,
  account_id,
  app,
  model,
  CASE WHEN variant = 'free' THEN 'free' ELSE '' END            AS variant,
  provider,
  simulated,
  count(*)                                                      AS requests,
  sum(prompt_tokens)                                            AS prompt_tokens,
  sum(completion_tokens)                                        AS completion_tokens,
  sum(reasoning_tokens)                                         AS reasoning_tokens,
  sum(cached_tokens)                                            AS cached_tokens,
  sum(cost_nanousd)                                             AS cost_nanousd
FROM usage_events
GROUP BY 1, 2, 3, 4, 5, 6, 7
