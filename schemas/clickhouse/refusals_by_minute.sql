CREATE TABLE refusals_by_minute_partials
(
    `minute` Nullable(DateTime64(6, 'UTC')),
    `provider` LowCardinality(Nullable(String)),
    `endpoint` LowCardinality(Nullable(String)),
    `model` LowCardinality(Nullable(String)),
    `region` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `filtered` SimpleAggregateFunction(sum, Nullable(Int64)),
    `declined` SimpleAggregateFunction(sum, Nullable(Int64)),
    `declined_text` SimpleAggregateFunction(sum, Nullable(Int64)),
    `not_ok` SimpleAggregateFunction(sum, Nullable(Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`minute`)
ORDER BY (`minute`, `provider`, `endpoint`, `model`, `region`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW refusals_by_minute AS
SELECT
    t.`minute` AS `minute`,
    t.`provider` AS `provider`,
    t.`endpoint` AS `endpoint`,
    t.`model` AS `model`,
    t.`region` AS `region`,
    t.`simulated` AS `simulated`,
    sum(t.`filtered`) AS `filtered`,
    sum(t.`declined`) AS `declined`,
    sum(t.`declined_text`) AS `declined_text`,
    sum(t.`not_ok`) AS `not_ok`
FROM refusals_by_minute_partials AS t
GROUP BY t.`minute`, t.`provider`, t.`endpoint`, t.`model`, t.`region`, t.`simulated`;
