//! Tables as the rollups say, whatever was there; and servers that are not.

use crate::stage::{Stage, texts};
use std::collections::BTreeMap;
use std::path::Path;
use tidemark_lake::TableSpec;
use tidemark_tests::warehouse::is_wanted;
use tidemark_tests::{Dice, cases};
use tidemark_warehouse::{Server, WarehouseError, schema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_shape_is_named_and_made_anew() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(5);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);
    let server = Server::new(&stage.engine.settings()).unwrap();
    let specs: Vec<TableSpec> = stage
        .folder
        .lake
        .tables()
        .map(|t| t.spec().clone())
        .collect();
    assert_eq!(
        server.migrate(&specs).await.unwrap(),
        [""; 0],
        "all is there"
    );

    // A raw table of an earlier version gets the column it lacks.
    stage
        .engine
        .ask("ALTER TABLE raw_events DROP COLUMN route")
        .unwrap();
    assert_eq!(server.migrate(&specs).await.unwrap(), ["raw_events.route"]);

    // A rollup of an earlier version cannot be mended, only made anew.
    stage
        .engine
        .ask("ALTER TABLE models_by_hour_partials DROP COLUMN truncated")
        .unwrap();
    let error = server.migrate(&specs).await.unwrap_err();
    assert!(matches!(error, WarehouseError::Drift { .. }), "{error}");
    assert!(
        error.to_string().contains("rebuild --table models_by_hour"),
        "{error}"
    );
    let spec = specs
        .iter()
        .find(|spec| spec.name == "models_by_hour")
        .unwrap();
    server.remake(spec).await.unwrap();
    assert_eq!(stage.differences().await, [""; 0]);

    // Users are not there in the engine as a library, but its parser is.
    for sql in schema::analyst("tidemark") {
        let tree = stage.engine.ask(&format!("EXPLAIN AST {sql}")).unwrap();
        assert!(tree.contains("Query"), "{tree}");
    }

    // Figures of histograms and sketches, by the formulas of the lake.
    let lake = stage.folder.lake.sql().await.unwrap();
    let ours = lake
        .sql("SELECT model, quantile(histogram_merge(latency_us), 0.95) AS q, distinct(bottom_k_merge(accounts, 1024), 1024) AS n FROM models_by_hour GROUP BY model ORDER BY model")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let theirs = stage
        .engine
        .ask("SELECT model, histogram_quantile(sumMap(latency_us), 0.95), sketch_distinct(arraySlice(arraySort(groupUniqArrayArray(accounts)), 1, 1024), 1024) FROM models_by_hour GROUP BY model ORDER BY model")
        .unwrap();
    let ours: Vec<String> = texts(&ours);
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (ours, theirs): (Vec<&str>, Vec<&str>) =
            (ours.split(" | ").collect(), theirs.split('\t').collect());
        let near = |at: usize| {
            let (a, b): (f64, f64) = (ours[at].parse().unwrap(), theirs[at].parse().unwrap());
            (a - b).abs() <= a.abs() * 1e-9
        };
        assert!(
            ours[0] == theirs[0] && near(1) && near(2),
            "{ours:?} {theirs:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let mut settings = tidemark_warehouse::WarehouseSettings {
        url: "http://127.0.0.1:9".to_owned(),
        ..Default::default()
    };
    let error = Server::new(&settings).unwrap().check().await.unwrap_err();
    assert!(matches!(error, WarehouseError::Away { .. }), "{error}");
    assert!(error.to_string().contains("http://127.0.0.1:9"), "{error}");
    settings.url = "127.0.0.1:8123".to_owned();
    assert!(Server::new(&settings).is_err());
    settings.url = "http://me:secret@127.0.0.1:8123".to_owned();
    let error = Server::new(&settings).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

/// `UPDATE_CASES=1` writes them anew.
#[tokio::test]
async fn the_tables_in_schemas_are_those_of_the_rollups() {
    let pipelines = tidemark_rollup::Pipeline::built_in(
        &TableSpec::events(&tidemark_event::wire::Reader::new(&[]).unwrap().schema()).schema,
    )
    .await
    .unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/clickhouse");
    let mut wanted = BTreeMap::from([
        (
            "lake_files.sql".to_owned(),
            format!("{};\n", schema::ledger().trim_end()),
        ),
        (
            "functions.sql".to_owned(),
            schema::functions()
                .map(|sql| format!("{sql};\n"))
                .join("\n"),
        ),
    ]);
    wanted.insert(
        "analyst.sql".to_owned(),
        schema::analyst("tidemark")
            .map(|sql| format!("{sql};\n"))
            .join("\n"),
    );
    for spec in tidemark_rollup::table_specs(&pipelines).await.unwrap() {
        let mut sql = format!("{};\n", schema::table(&spec).trim_end());
        if let Some(view) = schema::view(&spec) {
            sql.push_str(&format!("\n{};\n", view.trim_end()));
        }
        wanted.insert(format!("{}.sql", spec.name), sql);
    }
    if cases::update() {
        for (name, sql) in &wanted {
            std::fs::write(folder.join(name), sql).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.insert(name, std::fs::read_to_string(path).unwrap());
    }
    assert!(
        found == wanted,
        "schemas/clickhouse is not what the rollups say: run with UPDATE_CASES=1 and review"
    );
}
