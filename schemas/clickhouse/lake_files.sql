CREATE TABLE IF NOT EXISTS lake_files
(
    table_id UUID,
    lake_table LowCardinality(String),
    day String,
    path String,
    version UInt64,
    loaded_at DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY (table_id, day, path);
