//! Every board and metric against plain hash maps, and every rule of what is shown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use support::{
    Fact, ask, context, context_in, fact, lines, now, oracle, query, rankings, spread, traffic,
};
use tidemark_insight::{By, InsightError, Metric, Period, Policy, RankingQuery};

const BOARDS: [&str; 6] = [
    "apps",
    "authors",
    "models",
    "providers",
    "share",
    "trending",
];

fn questions() -> Vec<RankingQuery> {
    let mut questions = Vec::new();
    for ranking in BOARDS {
        for &metric in Metric::ALL {
            for &period in Period::ALL {
                let by = if ranking == "share" {
                    By::ALL.iter().map(|by| Some(*by)).collect()
                } else {
                    vec![None]
                };
                for by in by {
                    for limit in [2, 50] {
                        questions.push(RankingQuery {
                            metric,
                            period,
                            by,
                            limit,
                            ..query(ranking)
                        });
                    }
                }
            }
        }
    }
    questions.retain(|question| question.ranking != "trending" || question.period != Period::All);
    questions
}

#[tokio::test]
async fn every_board_and_metric_agrees_with_plain_sums() {
    let facts = traffic(1);
    let policy = Policy {
        cap_tokens: 50_000,
        ..Policy::default()
    };
    let rankings = rankings(policy);
    let context = context(&facts);
    let (mut ranked, mut folded) = (0, 0);
    for question in questions() {
        let ranking = rankings.answer(&context, now(), &question).await.unwrap();
        let expected = oracle(&facts, &question, &policy);
        ranked += expected.iter().filter(|line| line.0.is_some()).count();
        folded += expected.iter().filter(|line| line.0.is_none()).count();
        assert_eq!(lines(&ranking), expected, "{question:?}");
    }
    assert!(
        ranked > 500 && folded > 100,
        "the traffic exercises both: {ranked} ranked, {folded} folded"
    );
}

#[tokio::test]
async fn rows_and_other_sum_to_the_table_to_the_last_token() {
    let facts = traffic(2);
    let rankings = rankings(Policy::default());
    let context = context(&facts);
    for question in questions() {
        let days = question.period.days().map_or(i64::MAX, |days| days as i64);
        let inside: Vec<&Fact> = facts.iter().filter(|fact| fact.days_ago < days).collect();
        let tokens: i64 = inside
            .iter()
            .map(|fact| fact.prompt + fact.completion)
            .sum();
        let requests: i64 = inside.iter().map(|fact| fact.requests).sum();
        let simulated: i64 = inside
            .iter()
            .filter(|fact| fact.simulated)
            .map(|fact| fact.requests)
            .sum();
        let spend: i64 = inside.iter().map(|fact| fact.cost).sum();

        let ranking = rankings.answer(&context, now(), &question).await.unwrap();
        assert_eq!(ranking.totals.tokens, tokens, "{question:?}");
        assert_eq!(ranking.totals.requests, requests, "{question:?}");
        assert_eq!(ranking.totals.spend_nanousd, spend, "{question:?}");
        assert_eq!(ranking.totals.simulated_requests, simulated, "{question:?}");
        assert!(
            (ranking.totals.simulated_share - simulated as f64 / requests as f64).abs() < 1e-12
        );
        if question.ranking != "trending" {
            assert_eq!(
                ranking.rows.iter().map(|row| row.tokens).sum::<i64>(),
                tokens,
                "{question:?}"
            );
            assert_eq!(
                ranking.rows.iter().map(|row| row.requests).sum::<i64>(),
                requests,
                "{question:?}"
            );
            assert_eq!(
                ranking
                    .rows
                    .iter()
                    .map(|row| row.spend_nanousd)
                    .sum::<i64>(),
                spend,
                "{question:?}"
            );
            if question.metric != Metric::Accounts {
                let shares: f64 = ranking.rows.iter().map(|row| row.share).sum();
                assert!(
                    (shares - 1.0).abs() < 1e-9,
                    "{question:?}: shares sum to {shares}"
                );
            }
        }
    }
}

#[tokio::test]
async fn both_spellings_of_utc_give_the_same() {
    let facts = traffic(3);
    let rankings = rankings(Policy::default());
    for ranking in BOARDS {
        let one = rankings
            .answer(&context_in("UTC", &facts), now(), &query(ranking))
            .await
            .unwrap();
        let two = rankings
            .answer(&context_in("+00:00", &facts), now(), &query(ranking))
            .await
            .unwrap();
        assert_eq!(one, two);
        assert!(!one.rows.is_empty());
    }
}

#[tokio::test]
async fn a_cell_of_nine_accounts_is_in_other_and_one_of_ten_is_not() {
    let facts = [
        spread("alder/one", 10, 100),
        spread("birch/large", 9, 1_000),
    ]
    .concat();
    let ranking = ask(&facts, Policy::default(), &query("models")).await;
    let expected = vec![
        (Some(1), "alder/one".to_owned(), 1_000, 10, 7_000, 10, 1_000),
        (None, "other".to_owned(), 9_000, 9, 63_000, 9, 9_000),
    ];
    assert_eq!(
        lines(&ranking),
        expected,
        "the larger `other` is still last"
    );
    assert_eq!(ranking.rows[0].name, "The alder/one");
    assert_eq!(ranking.rows[0].share, 0.1);
    assert_eq!(ranking.rows[0].growth, None);
}

#[tokio::test]
async fn a_dominating_account_sends_its_cell_to_other() {
    let mut facts = spread("alder/one", 20, 100);
    facts.push(fact("alder/one", "whale", 2_000));
    let even = ask(&facts, Policy::default(), &query("models")).await;
    assert_eq!(
        even.rows[0].key, "alder/one",
        "exactly half is not more than half"
    );
    facts.push(fact("alder/one", "whale", 1));
    let ranking = ask(&facts, Policy::default(), &query("models")).await;
    assert_eq!(ranking.rows.len(), 1);
    assert_eq!(
        (ranking.rows[0].rank, ranking.rows[0].key.as_str()),
        (None, "other")
    );
    assert_eq!(ranking.rows[0].tokens, 4_001);
    assert_eq!(ranking.rows[0].accounts, 21);
}

#[tokio::test]
async fn ties_are_alphabetical_and_what_is_beyond_the_limit_is_other() {
    let facts = ["c/c", "a/a", "d/d", "b/b"]
        .map(|model| spread(model, 12, 50))
        .concat();
    let question = RankingQuery {
        limit: 3,
        ..query("models")
    };
    let ranking = ask(&facts, Policy::default(), &question).await;
    let order: Vec<(Option<u32>, &str)> = ranking
        .rows
        .iter()
        .map(|row| (row.rank, row.key.as_str()))
        .collect();
    assert_eq!(
        order,
        [
            (Some(1), "a/a"),
            (Some(2), "b/b"),
            (Some(3), "c/c"),
            (None, "other")
        ]
    );
    assert_eq!(
        ranking.rows[3].accounts, 12,
        "distinct accounts, not their sum"
    );
    assert_eq!(ranking.totals.accounts, 12);
}

#[tokio::test]
async fn free_variants_rank_apart() {
    let mut facts = spread("alder/one", 12, 100);
    facts.extend(spread("alder/one", 12, 900).into_iter().map(|fact| Fact {
        free: true,
        cost: 0,
        ..fact
    }));
    let ranking = ask(&facts, Policy::default(), &query("models")).await;
    let order: Vec<(&str, &str)> = ranking
        .rows
        .iter()
        .map(|row| (row.key.as_str(), row.name.as_str()))
        .collect();
    assert_eq!(
        order,
        [
            ("alder/one:free", "The alder/one (free)"),
            ("alder/one", "The alder/one")
        ]
    );

    let spend = ask(
        &facts,
        Policy::default(),
        &RankingQuery {
            metric: Metric::Spend,
            ..query("models")
        },
    )
    .await;
    assert_eq!(
        spend.rows.len(),
        1,
        "a model without spend has no rank by spend"
    );
    assert_eq!(spend.rows[0].key, "alder/one");
    assert_eq!(spend.totals.tokens, 12_000);
}

#[tokio::test]
async fn one_account_cannot_buy_a_rank_by_capped_volume() {
    let mut facts = spread("alder/one", 12, 1_000);
    facts.extend(spread("birch/large", 12, 500));
    facts.extend((0..3).map(|_| fact("birch/large", "account-0", 3_000)));
    let policy = Policy {
        cap_tokens: 1_000,
        dominance: 1.0,
        ..Policy::default()
    };
    let plain = ask(&facts, policy, &query("models")).await;
    assert_eq!(plain.rows[0].key, "birch/large");
    let capped = ask(
        &facts,
        policy,
        &RankingQuery {
            metric: Metric::Capped,
            ..query("models")
        },
    )
    .await;
    assert_eq!(capped.rows[0].key, "alder/one");
    assert_eq!(
        capped.rows[1].capped_tokens,
        11 * 500 + 1_000,
        "one account's partials are capped together"
    );
    assert_eq!(capped.totals.capped_tokens, 12_000 + 6_500);
}

#[tokio::test]
async fn trending_lists_growth_over_the_mean_of_three_windows() {
    let on =
        |facts: Vec<Fact>, days_ago| facts.into_iter().map(move |fact| Fact { days_ago, ..fact });
    let mut facts = Vec::new();
    facts.extend(on(spread("alder/one", 10, 100), 0));
    facts.extend(
        [7, 14, 21]
            .into_iter()
            .flat_map(|days| on(spread("alder/one", 10, 40 + days), days)),
    );
    facts.extend(on(spread("birch/large", 10, 300), 6));
    facts.extend(on(spread("birch/large", 10, 301), 7));
    facts.extend(on(spread("birch/large", 10, 301), 13));
    facts.extend(on(spread("birch/large", 10, 301), 20));
    facts.extend(on(spread("cedar/mini", 10, 30), 3));
    facts.extend(on(spread("dogwood/tiny", 9, 500), 0));
    facts.extend(on(spread("elm/rare", 10, 9_000), 28));
    let ranking = ask(&facts, Policy::default(), &query("trending")).await;
    let order: Vec<(Option<u32>, &str, i64)> = ranking
        .rows
        .iter()
        .map(|row| (row.rank, row.key.as_str(), row.tokens))
        .collect();
    // birch shrank and is not listed; dogwood grew, but has nine accounts.
    assert_eq!(
        order,
        [
            (Some(1), "alder/one", 1_000),
            (Some(2), "cedar/mini", 300),
            (None, "other", 4_500)
        ]
    );
    let alder = &ranking.rows[0];
    assert!((alder.growth.unwrap() - (1_000.0 - 540.0)).abs() < 1e-9);
    assert!((alder.growth_percent.unwrap() - 100.0 * 460.0 / 540.0).abs() < 1e-9);
    assert_eq!(ranking.rows[1].growth, Some(300.0));
    assert_eq!(
        ranking.rows[1].growth_percent, None,
        "there is no percentage of nothing"
    );
}

#[tokio::test]
async fn a_period_ends_today_and_all_shows_old_traces() {
    let mut facts = spread("alder/one", 10, 1);
    for (days_ago, tokens) in [
        (1, 10),
        (6, 100),
        (7, 1_000),
        (29, 10_000),
        (30, 100_000),
        (1_100, 1_000_000),
    ] {
        facts.extend(
            spread("alder/one", 10, tokens)
                .into_iter()
                .map(|fact| Fact { days_ago, ..fact }),
        );
    }
    let mut found = BTreeMap::new();
    for &period in Period::ALL {
        let ranking = ask(
            &facts,
            Policy::default(),
            &RankingQuery {
                period,
                ..query("models")
            },
        )
        .await;
        found.insert(period.as_str(), ranking.rows[0].tokens);
        assert_eq!(ranking.meta.since.is_none(), period == Period::All);
    }
    let expected = BTreeMap::from([
        ("day", 10),
        ("week", 1_110),
        ("month", 111_110),
        ("all", 11_111_110),
    ]);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nothing_ranks_where_nothing_happened() {
    for ranking in BOARDS {
        let answer = ask(&[], Policy::default(), &query(ranking)).await;
        assert!(answer.rows.is_empty());
        assert_eq!(answer.totals.tokens, 0);
        assert_eq!(answer.totals.simulated_share, 0.0);
    }
}

#[tokio::test]
async fn questions_without_sense_name_what_is_allowed() {
    let rankings = rankings(Policy::default());
    let allowed = |question: RankingQuery| match rankings.check(&question) {
        Err(InsightError::Parameter { name, allowed, .. }) => (name, allowed),
        Err(InsightError::UnknownRanking { known }) => ("ranking", known),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        allowed(query("planets")),
        ("ranking", BOARDS.map(str::to_owned).to_vec())
    );
    assert_eq!(allowed(query("_fold")).0, "ranking");
    assert_eq!(
        allowed(RankingQuery {
            limit: 0,
            ..query("models")
        }),
        ("limit", vec!["1 to 50".to_owned()])
    );
    assert_eq!(
        allowed(RankingQuery {
            limit: 51,
            ..query("models")
        })
        .0,
        "limit"
    );
    assert_eq!(
        allowed(RankingQuery {
            by: Some(By::Author),
            ..query("models")
        })
        .0,
        "by"
    );
    let without_end = RankingQuery {
        period: Period::All,
        ..query("trending")
    };
    assert_eq!(
        allowed(without_end),
        (
            "period",
            ["day", "week", "month"].map(str::to_owned).to_vec()
        )
    );
    assert!("decade".parse::<Period>().is_err());
}
