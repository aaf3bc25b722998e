-- Apps by what they send. Requests without an app have no key and are part of `other`.
SELECT
  f.flow                                                        AS flow,
  f.app                                                         AS key,
  f.app                                                         AS name,
  0                                                             AS earlier_windows
FROM flows f
