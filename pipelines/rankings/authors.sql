-- Authors by use of their models. Models that are not in the catalog count for the name before their slash.
SELECT
  f.flow                                                        AS flow,
  coalesce(m.author, split_part(f.model, '/', 1))               AS key,
  coalesce(w.name, m.author, split_part(f.model, '/', 1))       AS name,
  0                                                             AS earlier_windows
FROM flows f
LEFT JOIN catalog_models m ON m.model = f.model
LEFT JOIN catalog_authors w ON w.author = coalesce(m.author, split_part(f.model, '/', 1))
