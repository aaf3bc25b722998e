//! The same answers from both, and nothing left in either of what was erased.

use crate::stage::Stage;
use datafusion::execution::context::SessionContext;
use tidemark_insight::{Rankings, register_catalog_rows};
use tidemark_lake::{Hot, TableSpec};
use tidemark_rollup::erase;
use tidemark_tests::warehouse::is_wanted;
use tidemark_tests::{Dice, cases};
use tidemark_warehouse::{Server, Warm};

/// Every answer to every question, as the golden files show it.
async fn answers(context: &SessionContext) -> Vec<String> {
    let rows = (cases::models(), cases::authors(), cases::providers());
    register_catalog_rows(context, rows.0, rows.1, rows.2).unwrap();
    let rankings = Rankings::embedded(cases::policy()).unwrap();
    let mut texts = Vec::new();
    for board in rankings.names() {
        for query in cases::questions(&rankings, &board) {
            let answer = rankings
                .answer(context, cases::now(), &query)
                .await
                .unwrap();
            texts.push(cases::text(&query, &answer).unwrap());
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rankings_are_the_same_from_both() {
    if !is_wanted() {
        return;
    }
    let mut stage = Stage::set().await;
    for events in cases::read("two_days").unwrap().chunks(150) {
        stage.folder.publish(events).await.unwrap();
        stage.sent.extend_from_slice(events);
        while stage.worker.step().await.unwrap() {}
        assert_eq!(stage.differences().await, [""; 0]);
    }
    let mut hot = Hot::new(stage.folder.lake.clone(), cases::held());
    let (_, lake) = hot.refresh().await.unwrap().unwrap();

    let server = Server::new(&stage.engine.settings()).unwrap();
    let specs: Vec<TableSpec> = stage
        .folder
        .pipelines
        .iter()
        .map(|p| p.spec().clone())
        .collect();
    let mut warm = Warm::new(server, cases::held(), &specs).unwrap();
    let (_, warehouse) = warm.refresh().await.unwrap().unwrap();
    assert!(
        warm.refresh().await.unwrap().is_none(),
        "nothing has changed"
    );
    let (lake, warehouse) = (answers(&lake).await, answers(&warehouse).await);
    assert!(lake.len() > 50, "{} questions", lake.len());
    assert_eq!(lake, warehouse);
    eprintln!("{} answers alike from lake and ClickHouse", lake.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_account_is_gone_from_both() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(23);
    let mut stage = Stage::set().await;
    for _ in 0..4 {
        stage.grow(&mut dice).await;
    }
    assert_eq!(stage.differences().await, [""; 0]);
    let who = "account-7";
    let count = |sql: &str| stage.engine.ask(sql).unwrap();
    let of = |table: &str| format!("SELECT count() FROM {table} WHERE account_id = '{who}'");
    assert_ne!(count(&of("usage_events")).trim(), "0");
    let sums = "SELECT sum(requests), sum(prompt_tokens), sum(cost_nanousd) FROM models_by_hour";
    let before = count(sums);

    let (lake, pipelines) = (stage.folder.lake.clone(), stage.folder.pipelines.clone());
    erase(&lake, &pipelines, who, |_, _| {}).await.unwrap();
    assert!(stage.passes("").success());
    assert_eq!(count(&of("usage_events")).trim(), "0");
    assert_eq!(count(&of("accounts_by_day")).trim(), "0");
    assert_eq!(count(sums), before, "sums stay");
    stage.sent.retain(|event| event.account_id != who);
    let mut wrong = Vec::new();
    stage.compare_events(&mut wrong);
    stage.compare_rollups(&mut wrong).await;
    assert_eq!(wrong, [""; 0]);
}
