CREATE TABLE models_by_hour_partials
(
    `hour` Nullable(DateTime64(6, 'UTC')),
    `model` LowCardinality(Nullable(String)),
    `variant` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `prompt_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `completion_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cached_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `reasoning_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cost_nanousd` SimpleAggregateFunction(sum, Nullable(Int64)),
    `answered` SimpleAggregateFunction(sum, Nullable(Int64)),
    `errors` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cancelled` SimpleAggregateFunction(sum, Nullable(Int64)),
    `filtered` SimpleAggregateFunction(sum, Nullable(Int64)),
    `declined` SimpleAggregateFunction(sum, Nullable(Int64)),
    `declined_text` SimpleAggregateFunction(sum, Nullable(Int64)),
    `truncated` SimpleAggregateFunction(sum, Nullable(Int64)),
    `context_overflow` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_requests_ok` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tools_called` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_invalid_json` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_unknown_name` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tool_schema_mismatch` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tools_demanded` SimpleAggregateFunction(sum, Nullable(Int64)),
    `tools_ignored` SimpleAggregateFunction(sum, Nullable(Int64)),
    `latency_us` SimpleAggregateFunction(sumMap, Map(Int32, Int64)),
    `ttft_us` SimpleAggregateFunction(sumMap, Map(Int32, Int64)),
    `accounts` SimpleAggregateFunction(groupUniqArrayArray, Array(Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`hour`)
ORDER BY (`hour`, `model`, `variant`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW models_by_hour AS
SELECT
    t.`hour` AS `hour`,
    t.`model` AS `model`,
    t.`variant` AS `variant`,
    t.`simulated` AS `simulated`,
    sum(t.`requests`) AS `requests`,
    sum(t.`prompt_tokens`) AS `prompt_tokens`,
    sum(t.`completion_tokens`) AS `completion_tokens`,
    sum(t.`cached_tokens`) AS `cached_tokens`,
    sum(t.`reasoning_tokens`) AS `reasoning_tokens`,
    sum(t.`cost_nanousd`) AS `cost_nanousd`,
    sum(t.`answered`) AS `answered`,
    sum(t.`errors`) AS `errors`,
    sum(t.`cancelled`) AS `cancelled`,
    sum(t.`filtered`) AS `filtered`,
    sum(t.`declined`) AS `declined`,
    sum(t.`declined_text`) AS `declined_text`,
    sum(t.`truncated`) AS `truncated`,
    sum(t.`context_overflow`) AS `context_overflow`,
    sum(t.`tool_requests`) AS `tool_requests`,
    sum(t.`tool_requests_ok`) AS `tool_requests_ok`,
    sum(t.`tools_called`) AS `tools_called`,
    sum(t.`tool_invalid_json`) AS `tool_invalid_json`,
    sum(t.`tool_unknown_name`) AS `tool_unknown_name`,
    sum(t.`tool_schema_mismatch`) AS `tool_schema_mismatch`,
    sum(t.`tools_demanded`) AS `tools_demanded`,
    sum(t.`tools_ignored`) AS `tools_ignored`,
    sumMap(t.`latency_us`) AS `latency_us`,
    sumMap(t.`ttft_us`) AS `ttft_us`,
    arraySlice(arraySort(groupUniqArrayArray(t.`accounts`)), 1, 1024) AS `accounts`
FROM models_by_hour_partials AS t
GROUP BY t.`hour`, t.`model`, t.`variant`, t.`simulated`;
