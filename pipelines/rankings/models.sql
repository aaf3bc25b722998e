-- Models by use. A model's `:free` variant ranks apart from the paid one.
SELECT
  f.flow                                                        AS flow,
  CASE WHEN f.variant = 'free' AND f.model <> '' THEN f.model || ':free' ELSE f.model END AS key,
  CASE WHEN f.variant = 'free' THEN coalesce(m.name, f.model) || ' (free)'
    ELSE coalesce(m.name, f.model) END                          AS name,
  0                                                             AS earlier_windows
FROM flows f
LEFT JOIN catalog_models m ON m.model = f.model
