CREATE TABLE accounts_by_day_partials
(
    `day` Nullable(DateTime64(6, 'UTC')),
    `account_id` Nullable(String),
    `app` LowCardinality(Nullable(String)),
    `model` LowCardinality(Nullable(String)),
    `variant` LowCardinality(Nullable(String)),
    `provider` LowCardinality(Nullable(String)),
    `simulated` Nullable(Bool),
    `requests` SimpleAggregateFunction(sum, Nullable(Int64)),
    `prompt_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `completion_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `reasoning_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cached_tokens` SimpleAggregateFunction(sum, Nullable(Int64)),
    `cost_nanousd` SimpleAggregateFunction(sum, Nullable(Int64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`day`)
ORDER BY (`day`, `account_id`, `app`, `model`, `variant`, `provider`, `simulated`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW accounts_by_day AS
SELECT
    t.`day` AS `day`,
    t.`account_id` AS `account_id`,
    t.`app` AS `app`,
    t.`model` AS `model`,
    t.`variant` AS `variant`,
    t.`provider` AS `provider`,
    t.`simulated` AS `simulated`,
    sum(t.`requests`) AS `requests`,
    sum(t.`prompt_tokens`) AS `prompt_tokens`,
    sum(t.`completion_tokens`) AS `completion_tokens`,
    sum(t.`reasoning_tokens`) AS `reasoning_tokens`,
    sum(t.`cached_tokens`) AS `cached_tokens`,
    sum(t.`cost_nanousd`) AS `cost_nanousd`
FROM accounts_by_day_partials AS t
GROUP BY t.`day`, t.`account_id`, t.`app`, t.`model`, t.`variant`, t.`provider`, t.`simulated`;
