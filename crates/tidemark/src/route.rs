//! `tidemark route explain`: where a request would go, and why, without sending anything.

use crate::config::Config;
use crate::output::{self, Format, line};
use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use clap::{Args, ValueEnum};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tidemark_catalog::{Catalog, Sources};
use tidemark_router::adapters::Dialect;
use tidemark_router::ask::Operation;
use tidemark_router::entrance;
use tidemark_router::policy::Policy;
use tidemark_router::route::explain::Explanation;
use tidemark_router::route::{Question, Routes};
use tidemark_router::settings::{Settings, Upstream};

/// What is to be explained.
#[derive(Debug, Args)]
pub struct Explain {
    /// The request's body; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The API that the body is of.
    #[arg(long, value_enum, default_value = "chat")]
    api: Api,
    /// Folder with authors.toml, providers.toml, models.toml and endpoints.toml, in the place of the built-in catalog.
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Seed of what is left to chance.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Output.
    #[arg(long, value_enum, default_value = "table")]
    format: Shape,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Api {
    Chat,
    Messages,
    Embeddings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Json,
}

/// Explains; whether a lane is left.
pub fn explain(config: &Config, asked: &Explain) -> Result<bool> {
    let catalog = match &asked.catalog {
        Some(dir) => read_catalog(dir)?,
        None => Catalog::builtin()?,
    };
    let settings = reachable(&config.router, &catalog);
    let routes = Routes::new(Arc::new(catalog), &settings)?;
    let operation = match asked.api {
        Api::Chat => Operation::Chat,
        Api::Messages => Operation::Messages,
        Api::Embeddings => Operation::Embeddings,
    };
    let refused = |refusal: tidemark_router::answer::error::Refusal| match &refusal.param {
        Some(param) => anyhow!("{param}: {}", refusal.message),
        None => anyhow!("{}", refusal.message),
    };
    let ask = entrance::ask(operation, &read_body(&asked.body)?).map_err(refused)?;
    let question = Question {
        named: routes.named(&ask.model).map_err(refused)?,
        ask: &ask,
        policy: &Policy::default(),
        account: "",
        at: chrono::Utc::now(),
        now: Instant::now(),
        seed: asked.seed,
        attempts: settings.max_attempts,
    };
    let explanation = routes.decide(&question).map_err(refused)?.explain();
    let unavailable = routes.plan(&question).err();
    if asked.format == Shape::Json {
        let mut json = serde_json::to_value(&explanation)?;
        if let (Some(refusal), Some(json)) = (&unavailable, json.as_object_mut()) {
            json.insert("error".to_owned(), refusal.message.clone().into());
            json.extend(refusal.metadata.clone());
        }
        line(json);
    } else {
        table(&explanation)?;
        if let Some(refusal) = &unavailable {
            line(&refusal.message);
        }
    }
    Ok(unavailable.is_none())
}

/// The settings without keys, which nothing here needs; where they name no upstream, every provider counts as reachable.
fn reachable(settings: &Settings, catalog: &Catalog) -> Settings {
    let mut settings = settings.clone();
    if settings.upstreams.is_empty() {
        let all = catalog.providers().iter().map(|provider| Upstream {
            provider: provider.slug.clone(),
            dialect: Dialect::OpenaiCompatible,
            base_url: format!("http://{}.invalid", provider.slug),
            region: None,
            data: None,
            key_env: None,
            simulated: false,
        });
        settings.upstreams = all.collect();
    }
    for upstream in &mut settings.upstreams {
        upstream.key_env = None;
    }
    settings
}

fn read_body(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path)
            .with_context(|| format!("the body {} cannot be read", path.display()));
    }
    let mut body = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut body)
        .context("standard input cannot be read")?;
    Ok(body)
}

fn read_catalog(dir: &Path) -> Result<Catalog> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path)
            .with_context(|| format!("the catalog's {} cannot be read", path.display()))
    };
    Ok(Catalog::from_toml(Sources {
        authors: &read("authors.toml")?,
        providers: &read("providers.toml")?,
        models: &read("models.toml")?,
        endpoints: &read("endpoints.toml")?,
    })?)
}

fn table(explanation: &Explanation) -> Result<()> {
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let number = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let lanes = &explanation.lanes;
    let marks: Vec<String> = lanes.iter().map(|lane| lane.marks.join(", ")).collect();
    let order = RecordBatch::try_from_iter([
        (
            "lane",
            text(lanes.iter().map(|lane| lane.endpoint.as_str()).collect()),
        ),
        (
            "region",
            text(lanes.iter().map(|lane| lane.region.as_str()).collect()),
        ),
        (
            "model",
            text(lanes.iter().map(|lane| lane.model.as_str()).collect()),
        ),
        (
            "prompt $/M",
            number(lanes.iter().map(|lane| Some(lane.prompt)).collect()),
        ),
        (
            "completion $/M",
            number(lanes.iter().map(|lane| Some(lane.completion)).collect()),
        ),
        (
            "against it",
            text(marks.iter().map(String::as_str).collect()),
        ),
    ])?;
    line(format!(
        "Order by {}{}; stickiness {}.",
        explanation.strategy,
        if explanation.looks {
            ", but the first is looked at anew"
        } else {
            ""
        },
        explanation.sticky
    ));
    output::rows(&order.schema(), &[order], Format::Table)?;
    let left = &explanation.excluded;
    if !left.is_empty() {
        let excluded = RecordBatch::try_from_iter([
            (
                "not tried",
                text(left.iter().map(|lane| lane.endpoint.as_str()).collect()),
            ),
            (
                "region",
                text(left.iter().map(|lane| lane.region.as_str()).collect()),
            ),
            (
                "excluded by",
                text(left.iter().map(|lane| lane.excluded_by).collect()),
            ),
        ])?;
        output::rows(&excluded.schema(), &[excluded], Format::Table)?;
    }
    Ok(())
}
