CREATE TABLE dead_letters
(
    `arrived` DateTime64(6, 'UTC'),
    `partition` Int32,
    `offset` Int64,
    `reason` LowCardinality(String),
    `bytes` Int64
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(`arrived`)
ORDER BY `arrived`
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;
