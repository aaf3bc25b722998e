CREATE TABLE intake_partials
(
    `minute` DateTime64(6, 'UTC'),
    `partition` Int32,
    `received` SimpleAggregateFunction(sum, Int64),
    `accepted` SimpleAggregateFunction(sum, Int64),
    `duplicates` SimpleAggregateFunction(sum, Int64),
    `dead_letters` SimpleAggregateFunction(sum, Int64),
    `damaged` SimpleAggregateFunction(sum, Int64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`minute`)
ORDER BY (`minute`, `partition`)
SETTINGS non_replicated_deduplication_window = 10000, allow_nullable_key = 1;

CREATE OR REPLACE VIEW intake AS
SELECT
    t.`minute` AS `minute`,
    t.`partition` AS `partition`,
    sum(t.`received`) AS `received`,
    sum(t.`accepted`) AS `accepted`,
    sum(t.`duplicates`) AS `duplicates`,
    sum(t.`dead_letters`) AS `dead_letters`,
    sum(t.`damaged`) AS `damaged`
FROM intake_partials AS t
GROUP BY t.`minute`, t.`partition`;
