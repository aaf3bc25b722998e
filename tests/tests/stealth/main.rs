//! A model behind an alias: before the reveal no public byte names who makes or serves it, and after it its history is the real model's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod asked;
mod secrets;
mod shown;

use arrow::array::AsArray;
use asked::*;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Request;
use http_body_util::{BodyExt, Full};
use secrets::*;
use serde_json::{Value, json};
use shown::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tidemark_api::ApiState;
use tidemark_catalog::Catalog;
use tidemark_event::{EventId, Micros, UsageEvent};
use tidemark_insight::{
    By, Metric, Period, Policy, Ranking, RankingQuery, Rankings, Snapshot, Source, held,
};
use tidemark_lake::Hot;
use tidemark_sim::providers::Script;
use tidemark_tests::folder::{Folder, Sizes};
use tidemark_tests::gateway::{Front, front_of};
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_public_byte_names_the_maker_before_the_reveal_and_history_joins_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let requests = traffic(dir.path()).await;
    let folder = rolled_up(dir.path()).await;
    let mut hot = Hot::new(folder.lake.clone(), held());

    // Before.
    let before = snapshot(&mut hot, catalog(None)).await;
    let boards = boards();
    let boards: Vec<&str> = boards.iter().map(String::as_str).collect();
    let both = [&OF_HIDDEN[..], &OF_KNOWN[..3]].concat();
    for (path, said) in pages(&before, &boards).await {
        assert!(said.starts_with("200"), "{path}: {said}");
        none_of(&path, &said, &both);
    }
    let own = [
        "/api/v1/statistics",
        "/api/v1/models/stealth/grey-owl/endpoints",
        "/models/stealth/grey-owl",
        "/models/stealth/quiet-heron",
    ];
    for (path, said) in pages(&before, &own).await {
        assert!(
            said.starts_with("200") && said.contains("stealth/"),
            "{path}: {said}"
        );
        none_of(&path, &said, &both);
    }
    // Here others may be named, but not what nobody knows of.
    let all = [
        "/api/v1/models",
        "/api/v1/providers",
        "/api/v1/models/zephyr-labs/zephyr-9/endpoints",
        "/models/zephyr-labs/zephyr-9",
        "/providers/zephyr",
        "/api/v1/nothing",
    ];
    for (path, said) in pages(&before, &all).await {
        none_of(&path, &said, &OF_HIDDEN);
    }
    let quiet = row(&before, "models", None, QUIET).await;
    let hidden = row(&before, "providers", None, "stealth").await;
    let events = stored(&folder).await;
    assert_eq!(events.len(), requests);
    assert_eq!(quiet, sums(&events, |event| event.model == QUIET));
    assert_eq!(
        hidden,
        sums(&events, |event| event.model.starts_with("stealth/")
            && !event.provider.is_empty())
    );
    assert_eq!(
        row(&before, "share", Some(By::Weights), "unknown").await[0],
        sums(&events, |event| !event.model.is_empty())[0]
    );
    assert_eq!(
        row(&before, "share", Some(By::Country), "unknown").await[0],
        sums(&events, |event| !event.model.is_empty())[0]
    );
    assert_eq!(
        row(&before, "authors", None, "stealth").await[0],
        sums(&events, |event| !event.model.is_empty())[0]
    );
    // Without the list nothing is told either.
    let forgotten = Snapshot::publish(
        99,
        &hot_tables(&folder).await,
        Arc::new(Catalog::builtin().unwrap()),
        Utc::now(),
        Utc::now(),
    )
    .await
    .unwrap();
    for (path, said) in pages(&forgotten, &boards).await {
        none_of(&path, &said, &both);
    }

    // Requests under the real name, from the day of the reveal on.
    let moment = Utc::now();
    let real: Vec<UsageEvent> = (0..60_u64)
        .map(|n| {
            let ts = Micros(moment.timestamp_micros());
            UsageEvent {
                event_id: EventId::derived(ts, b"real", n),
                ts,
                account_id: format!("later-{}", n % 15),
                model: HIDDEN.to_owned(),
                provider: "zephyr".to_owned(),
                endpoint: "zephyr/zephyr-9".to_owned(),
                region: "zephyr-east".to_owned(),
                prompt_tokens: 100 + n as i64,
                completion_tokens: n as i64,
                ..UsageEvent::default()
            }
        })
        .collect();
    folder.publish(&real).await.unwrap();
    let mut worker = folder.worker().unwrap();
    while worker.step().await.unwrap() {}
    let events = stored(&folder).await;

    // After.
    let after = snapshot(&mut hot, catalog(Some(moment))).await;
    let joined = |event: &UsageEvent| event.model == QUIET || event.model == HIDDEN;
    assert_eq!(
        row(&after, "models", None, HIDDEN).await,
        sums(&events, joined)
    );
    assert_eq!(row(&after, "models", None, QUIET).await, [0; 4]);
    assert_eq!(
        row(&after, "models", None, KNOWN).await,
        sums(&events, |event| event.model == GREY)
    );
    assert_eq!(
        row(&after, "authors", None, "zephyr-labs").await,
        sums(&events, joined)
    );
    assert_eq!(row(&after, "authors", None, "stealth").await, [0; 4]);
    assert_eq!(
        row(&after, "providers", None, "zephyr").await,
        sums(&events, |event| event.provider == "zephyr")
    );
    assert_eq!(
        row(&after, "providers", None, "anthropic").await,
        sums(&events, |event| event.provider == "anthropic")
    );
    assert_eq!(
        row(&after, "share", Some(By::Country), "NZ").await,
        sums(&events, joined)
    );
    assert_eq!(
        row(&after, "share", Some(By::Weights), "open").await,
        sums(&events, joined)
    );
    let named = ranked(&after, "models", None).await;
    assert_eq!(
        named.totals.requests,
        events.len() as i64,
        "nothing doubled, nothing lost"
    );
    assert_eq!(
        named
            .rows
            .iter()
            .find(|row| row.key == HIDDEN)
            .unwrap()
            .name,
        "Zephyr 9"
    );
    for (path, said) in pages(
        &after,
        &[
            "/api/v1/models/stealth/quiet-heron/endpoints",
            "/models/stealth/quiet-heron",
            "/providers/zephyr",
        ],
    )
    .await
    {
        assert!(
            said.starts_with("200") && said.contains("Zephyr"),
            "{path}: {said}"
        );
    }

    // The old name goes on working, and answers with the real one.
    let later = tempfile::tempdir().unwrap();
    let script = Script::from_toml(SCRIPT).unwrap().without_faults();
    let front = front_of(later.path(), script, catalog(Some(moment)))
        .await
        .unwrap();
    let body = json!({"model": QUIET, "messages": [{"role": "user", "content": "When?"}]});
    let said = ask(
        &front,
        "/v1/chat/completions",
        &front.key.clone(),
        Some(body),
    )
    .await;
    assert!(
        said.starts_with("200") && said.contains(HIDDEN) && !said.contains(QUIET),
        "{said}"
    );
    let listed = ask(&front, "/v1/models", &front.key.clone(), None).await;
    assert!(listed.contains(HIDDEN) && !listed.contains(QUIET));
    let events = front.events().await.unwrap();
    assert_eq!(
        events
            .column_by_name("model")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        HIDDEN
    );
    assert_eq!(
        events
            .column_by_name("model_requested")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        QUIET
    );
}

#[tokio::test]
async fn the_moment_of_the_reveal_needs_no_reload() {
    let moment = Utc::now();
    let catalog = catalog(Some(moment));
    let just_before = moment - chrono::Duration::microseconds(1);
    assert_eq!(catalog.model_named(QUIET, just_before).unwrap().id, QUIET);
    assert!(catalog.model_named(HIDDEN, just_before).is_none());
    assert_eq!(catalog.model_named(QUIET, moment).unwrap().id, HIDDEN);
    assert_eq!(catalog.model_named(HIDDEN, moment).unwrap().id, HIDDEN);
}
