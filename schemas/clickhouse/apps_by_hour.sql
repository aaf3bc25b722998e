CREATE TABLE apps_by_hour_partials
(
    `hour` Nullable(DateTime64(6, 'UTC')),
    `app` LowCardinality(Nullable(String)),
    `model` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `prompt_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `completion_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cost_nanousd` SimpleAggregateFunction(sum, Nullable(Int64)),
    `accounts` SimpleAggregateFunction(groupUniqArrayArray, Array(Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`hour`)
ORDER BY (`hour`, `app`, `model`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW apps_by_hour AS
SELECT
    t.`hour` AS `hour`,
    t.`app` AS `app`,
    t.`model` AS `model`,
    t.`simulated` AS `simulated`,
    sum(t.`requests`) AS `requests`,
    sum(t.`prompt_tokens`) AS `prompt_tokens`,
    sum(t.`completion_tokens`) AS `completion_tokens`,
    sum(t.`cost_nanousd`) AS `cost_nanousd`,
    arraySlice(arraySort(groupUniqArrayArray(t.`accounts`)), 1, 1024) AS `accounts`
FROM apps_by_hour_partials AS t
GROUP BY t.`hour`, t.`app`, t.`model`, t.`simulated`;
