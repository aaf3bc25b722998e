//! Kept answers, folders of boards, and the check of every plan.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::sync::Arc;
use support::{context, now, query, rankings, spread};
use tidemark_catalog::Catalog;
use tidemark_insight::{
    Directory, InsightError, Metric, Policy, RankingQuery, Rankings, Snapshot, publish,
};

#[tokio::test]
async fn an_answer_is_kept_until_the_data_changes() {
    let rankings = rankings(Policy::default());
    let old = Snapshot {
        version: 1,
        context: context(&spread("alder/one", 10, 5)),
        as_of: now(),
        directory: Directory::default(),
        today: now().date_naive(),
    };
    let new = Snapshot {
        version: 2,
        context: context(&spread("alder/one", 10, 6)),
        as_of: now(),
        directory: Directory::default(),
        today: now().date_naive(),
    };
    let first = rankings
        .answer_cached(&old, &query("models"))
        .await
        .unwrap();
    let again = rankings
        .answer_cached(&old, &query("models"))
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let by_spend = RankingQuery {
        metric: Metric::Spend,
        ..query("models")
    };
    assert!(!Arc::ptr_eq(
        &first,
        &rankings.answer_cached(&old, &by_spend).await.unwrap()
    ));
    let changed = rankings
        .answer_cached(&new, &query("models"))
        .await
        .unwrap();
    assert_eq!((first.rows[0].tokens, changed.rows[0].tokens), (50, 60));
    let late = rankings
        .answer_cached(&old, &query("models"))
        .await
        .unwrap();
    assert!(
        Arc::ptr_eq(&changed, &late),
        "an older snapshot never takes the place of a newer answer"
    );
    let tomorrow = RankingQuery {
        now: Some(now() + chrono::Duration::days(1)),
        ..query("models")
    };
    assert!(
        !Arc::ptr_eq(
            &changed,
            &rankings.answer_cached(&new, &tomorrow).await.unwrap()
        ),
        "the window moved"
    );
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_computation() {
    let rankings = Arc::new(rankings(Policy::default()));
    let snapshot = Snapshot {
        version: 1,
        context: context(&spread("alder/one", 10, 5)),
        as_of: now(),
        directory: Directory::default(),
        today: now().date_naive(),
    };
    let asked: Vec<_> = (0..16)
        .map(|_| {
            let (rankings, snapshot) = (Arc::clone(&rankings), snapshot.clone());
            tokio::spawn(async move {
                rankings
                    .answer_cached(&snapshot, &query("models"))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    assert!(
        answers
            .iter()
            .all(|answer| Arc::ptr_eq(answer, &answers[0]))
    );
}

#[tokio::test]
async fn every_file_plans() {
    let planned = rankings(Policy::default())
        .plan_check(&context(&[]))
        .await
        .unwrap();
    for file in [
        "models.sql",
        "trending.sql",
        "share.sql",
        "_cells.sql",
        "_accounts.sql",
        "_places.sql",
        "_fold.sql",
        "_totals.sql",
    ] {
        assert!(
            planned.iter().any(|name| name == file),
            "{file} is among {planned:?}"
        );
    }
}

#[tokio::test]
async fn a_new_leaderboard_is_one_file() {
    let folder = std::env::temp_dir().join(format!("tidemark-boards-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/rankings");
    for step in ["_cells.sql", "_accounts.sql", "_places.sql", "_fold.sql"] {
        fs::copy(format!("{source}/{step}"), folder.join(step)).unwrap();
    }
    let incomplete = Rankings::from_dir(&folder, Policy::default());
    assert!(matches!(incomplete, Err(InsightError::MissingFile { file }) if file == "_totals.sql"));

    fs::copy(format!("{source}/_totals.sql"), folder.join("_totals.sql")).unwrap();
    let board = fs::read_to_string(format!("{source}/models.sql")).unwrap();
    fs::write(
        folder.join("initials.sql"),
        board.replace("f.model END AS key", "'x' || left(f.model, 1) END AS key"),
    )
    .unwrap();
    let rankings = Rankings::from_dir(&folder, Policy::default()).unwrap();
    assert_eq!(rankings.names(), ["initials"]);
    let tables = context(&[spread("alder/one", 10, 5), spread("alder/two", 10, 5)].concat());
    rankings.plan_check(&tables).await.unwrap();
    let answer = rankings
        .answer(&tables, now(), &query("initials"))
        .await
        .unwrap();
    assert_eq!(
        (answer.rows[0].key.as_str(), answer.rows[0].tokens),
        ("xa", 100)
    );

    for (broken, complaint) in [
        ("SELECT 1 AS flow, 1 AS key", "the column key must be text"),
        ("SELECT 1 AS flow, 'a' AS key", "the column name is missing"),
        ("SELECT nothing FROM flows", "initials.sql"),
        ("CREATE TABLE t AS SELECT 1", "initials.sql"),
        ("SELECT $colour AS key FROM flows", "initials.sql"),
    ] {
        fs::write(folder.join("initials.sql"), broken).unwrap();
        let error = Rankings::from_dir(&folder, Policy::default())
            .unwrap()
            .plan_check(&tables)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(complaint), "{broken}: {error}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn the_builtin_catalog_names_what_ranks() {
    let catalog = Catalog::builtin().unwrap();
    let model = &catalog.models()[0];
    let tables = context(&spread(&model.id, 10, 5));
    for table in ["catalog_models", "catalog_authors", "catalog_providers"] {
        tables.deregister_table(table).unwrap();
    }
    let tables = publish(&tables, &catalog, now()).await.unwrap();
    let rankings = rankings(Policy::default());
    let models = rankings
        .answer(&tables, now(), &query("models"))
        .await
        .unwrap();
    assert_eq!(models.rows[0].name, model.name);
    let authors = rankings
        .answer(&tables, now(), &query("authors"))
        .await
        .unwrap();
    assert_eq!(
        authors.rows[0].name,
        catalog.author(&model.author).unwrap().name
    );
    let share = rankings
        .answer(&tables, now(), &query("share"))
        .await
        .unwrap();
    assert_eq!(
        share.rows[0].key,
        if model.open_weights { "open" } else { "closed" }
    );
}

#[tokio::test]
async fn a_snapshot_keeps_its_own_tables() {
    let tables = context(&spread("alder/one", 10, 5));
    rankings(Policy::default())
        .answer(&tables, now(), &query("models"))
        .await
        .unwrap();
    let names = tables
        .catalog("datafusion")
        .unwrap()
        .schema("public")
        .unwrap()
        .table_names();
    assert!(
        !names
            .iter()
            .any(|name| name == "cells" || name == "account_volumes"),
        "{names:?}"
    );
}
