-- Share of use: $by open or closed weights, author, or the author's country.
SELECT
  f.flow                                                        AS flow,
  CASE WHEN f.model = '' THEN ''
    WHEN $by = 'author' THEN coalesce(m.author, split_part(f.model, '/', 1))
    WHEN $by = 'country' THEN coalesce(nullif(m.country, ''), 'unknown')
    WHEN m.open_weights THEN 'open'
    WHEN NOT m.open_weights THEN 'closed'
    ELSE 'unknown' END                                          AS key,
  CASE WHEN $by = 'author' THEN coalesce(w.name, m.author, split_part(f.model, '/', 1))
    WHEN $by = 'country' THEN coalesce(nullif(m.country, ''), 'Unknown')
    WHEN m.open_weights THEN 'Open weights'
    WHEN NOT m.open_weights THEN 'Closed weights'
    ELSE 'Unknown' END                                          AS name,
  0                                                             AS earlier_windows
FROM flows f
LEFT JOIN catalog_models m ON m.model = f.model
LEFT JOIN catalog_authors w ON w.author = coalesce(m.author, split_part(f.model, '/', 1))
