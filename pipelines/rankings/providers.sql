-- Providers by what they served. Requests that reached none have no key and are part of `other`.
SELECT
  f.flow                                                        AS flow,
  f.provider                                                    AS key,
  coalesce(p.name, f.provider)                                  AS name,
  0                                                             AS earlier_windows
FROM flows f
LEFT JOIN catalog_providers p ON p.provider = f.provider
