CREATE TABLE failed_attempts_by_minute_partials
(
    `minute` Nullable(DateTime64(6, 'UTC')),
    `provider` LowCardinality(Nullable(String)),
    `endpoint` LowCardinality(Nullable(String)),
    `model` LowCardinality(Nullable(String)),
    `region` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `attempts` SimpleAggregateFunction(sum, Nullable(Int64)),
    `attempts_failed` SimpleAggregateFunction(sum, Nullable(Int64)),
    `rate_limited` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cost_nanousd` SimpleAggregateFunction(sum, Nullable(Int64)),
    `latency_us` SimpleAggregateFunction(sumMap, Map(Int32, Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`minute`)
ORDER BY (`minute`, `provider`, `endpoint`, `model`, `region`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW failed_attempts_by_minute AS
SELECT
    t.`minute` AS `minute`,
    t.`provider` AS `provider`,
    t.`endpoint` AS `endpoint`,
    t.`model` AS `model`,
    t.`region` AS `region`,
    t.`simulated` AS `simulated`,
    sum(t.`attempts`) AS `attempts`,
    sum(t.`attempts_failed`) AS `attempts_failed`,
    sum(t.`rate_limited`) AS `rate_limited`,
    sum(t.`cost_nanousd`) AS `cost_nanousd`,
    sumMap(t.`latency_us`) AS `latency_us`
FROM failed_attempts_by_minute_partials AS t
GROUP BY t.`minute`, t.`provider`, t.`endpoint`, t.`model`, t.`region`, t.`simulated`;
