-- Models that grow: the window minus the mean of the three equal windows before it.
-- The window's last day is today, which is still running: growth is understated until the day is over, never invented.
SELECT
  f.flow                                                        AS flow,
  CASE WHEN f.variant = 'free' AND f.model <> '' THEN f.model || ':free' ELSE f.model END AS key,
  CASE WHEN f.variant = 'free' THEN coalesce(m.name, f.model) || ' (free)'
    ELSE coalesce(m.name, f.model) END                          AS name,
  $compared                                                     AS earlier_windows
FROM flows f
LEFT JOIN catalog_models m ON m.model = f.model
