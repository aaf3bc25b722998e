CREATE TABLE erasures
(
    `day` DateTime64(6, 'UTC'),
    `events` Array(Tuple(`event_id` String, `partition` Int32, `offset` Int64)),
    `sums` Array(Tuple(`rollup` LowCardinality(String), `measure` LowCardinality(String), `sum` Int64))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(`day`)
ORDER BY `day`
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;
