CREATE TABLE endpoints_by_minute_partials
(
    `minute` Nullable(DateTime64(6, 'UTC')),
    `provider` LowCardinality(Nullable(String)),
    `endpoint` LowCardinality(Nullable(String)),
    `model` LowCardinality(Nullable(String)),
    `region` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `prompt_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `completion_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cached_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cost_nanousd` SimpleAggregateFunction(sum, Nullable(Int64)),
    `attempts_ok` SimpleAggregateFunction(sum, Nullable(Int64)),
    `attempts_failed` SimpleAggregateFunction(sum, Nullable(Int64)),
    `rate_limited` SimpleAggregateFunction(sum, Nullable(Int64)),
    `refused` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_requests_ok` SimpleAggregateFunction(sum, Nullable(Int64)),
    `overhead_us` SimpleAggregateFunction(sum, Nullable(Int64)),
    `latency_us` SimpleAggregateFunction(sumMap, Map(Int32, Int64)),
    `ttft_us` SimpleAggregateFunction(sumMap, Map(Int32, Int64)),
    `throughput_mtps` SimpleAggregateFunction(sumMap, Map(Int32, Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`minute`)
ORDER BY (`minute`, `provider`, `endpoint`, `model`, `region`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW endpoints_by_minute AS
SELECT
    t.`minute` AS `minute`,
    t.`provider` AS `provider`,
    t.`endpoint` AS `endpoint`,
    t.`model` AS `model`,
    t.`region` AS `region`,
    t.`simulated` AS `simulated`,
    sum(t.`requests`) AS `requests`,
    sum(t.`prompt_tokens`) AS `prompt_tokens`,
    sum(t.`completion_tokens`) AS `completion_tokens`,
    sum(t.`cached_tokens`) AS `cached_tokens`,
    sum(t.`cost_nanousd`) AS `cost_nanousd`,
    sum(t.`attempts_ok`) AS `attempts_ok`,
    sum(t.`attempts_failed`) AS `attempts_failed`,
    sum(t.`rate_limited`) AS `rate_limited`,
    sum(t.`refused`) AS `refused`,
    sum(t.`tool_requests`) AS `tool_requests`,
    sum(t.`tool_requests_ok`) AS `tool_requests_ok`,
    sum(t.`overhead_us`) AS `overhead_us`,
    sumMap(t.`latency_us`) AS `latency_us`,
    sumMap(t.`ttft_us`) AS `ttft_us`,
    sumMap(t.`throughput_mtps`) AS `throughput_mtps`
FROM endpoints_by_minute_partials AS t
GROUP BY t.`minute`, t.`provider`, t.`endpoint`, t.`model`, t.`region`, t.`simulated`;
