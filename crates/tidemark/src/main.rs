//! The `tidemark` binary: command line, configuration, signals; every part it starts lives in a crate of its own.

mod account;
mod claim;
mod config;
mod deliver;
mod demo;
mod front;
mod inspect;
mod instance;
mod keys;
mod newest;
mod observe;
mod output;
mod parts;
mod reload;
mod replay;
mod route;
mod sim;
mod stop;
mod up;
mod warehouse;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use config::Config;
use output::Format;
use std::path::PathBuf;
use std::process::ExitCode;
use tidemark_sim::traces::{Format as TraceFormat, ReplayOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Public rankings, honest provider metrics and migration advice from the traffic of an LLM router.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Place {
    /// Settings file; ./tidemark.toml is read if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of journal and lake [default: tidemark-data].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process: rollup, api and pages on one address.
    #[command(
        after_help = "Examples:\n  tidemark up --demo\n  tidemark up --data-dir /srv/tidemark --listen 0.0.0.0:8480"
    )]
    Up {
        /// Adds a month of simulated history and live simulated traffic.
        #[arg(long)]
        demo: bool,
        /// HTTP address [default: 127.0.0.1:8480].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
        /// Prints the settings in force and ends.
        #[arg(long)]
        print_config: bool,
    },
    /// The router as a process of its own: events go to Kafka.
    ///
    /// It needs a build with Kafka's client: `cargo build --release --features kafka`.
    #[command(
        after_help = "Example:\n  tidemark router --config tidemark.toml --data-dir /srv/router"
    )]
    Router {
        /// HTTP address [default: 127.0.0.1:8480].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// A rollup worker as a process of its own: from Kafka to the lake; as many as wanted form a group.
    ///
    /// It needs a build with Kafka's client: `cargo build --release --features kafka`.
    #[command(
        after_help = "Example:\n  tidemark rollup --config tidemark.toml --data-dir /srv/lake --listen 127.0.0.1:8481"
    )]
    Rollup {
        /// Address of healthz, readyz and metrics [default: 127.0.0.1:8480].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Pages and JSON as a process of its own, over a lake that rollup workers write.
    #[command(
        after_help = "Example:\n  tidemark api --config tidemark.toml --data-dir /srv/lake --listen 0.0.0.0:8482"
    )]
    Api {
        /// HTTP address [default: 127.0.0.1:8480].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// A recorded trace as usage events, through journal and rollup; returns when all is committed.
    #[command(
        after_help = "Examples:\n  tidemark replay AzureLLMInferenceTrace_conv.csv --format azure --speed max\n  tidemark replay conversation_trace.jsonl.gz --format mooncake --speed 10 --data-dir try\n  TIDEMARK_API_KEY=sk-tidemark-... tidemark replay events.ndjson --format ndjson --to http://127.0.0.1:8480"
    )]
    Replay {
        /// The trace; gzip is recognised.
        file: PathBuf,
        /// What is in the file: azure, mooncake, servegen or ndjson.
        #[arg(long)]
        format: TraceFormat,
        /// Into a running instance, by its address, instead of a data folder; the API key is read from TIDEMARK_API_KEY.
        #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
        to: Option<String>,
        /// `max`, or so many times the recorded pace.
        #[arg(long, default_value = "max")]
        speed: replay::Speed,
        /// `now` moves the times so that the last event is now; otherwise they stay as recorded.
        #[arg(long, value_name = "now", value_parser = ["now"])]
        shift_to: Option<String>,
        /// Seed for what the trace does not say: model, account, provider.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Simulated providers as a process of their own: for trying the router without accounts.
    #[command(
        after_help = "Examples:\n  tidemark sim --speed max --no-faults > tidemark.toml & tidemark up\n  tidemark sim --script faults.toml --listen 127.0.0.1:9000"
    )]
    Sim(sim::Options),
    /// What is on the bus.
    #[command(
        after_help = "Examples:\n  tidemark events --from start --limit 20\n  tidemark events --follow --format json | jq .model"
    )]
    Events {
        /// Goes on as events arrive.
        #[arg(long)]
        follow: bool,
        /// Where to begin.
        #[arg(long, default_value = "end", value_parser = ["start", "end"])]
        from: String,
        /// Ends after so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Output.
        #[arg(long, value_enum, default_value = "table", alias = "fmt")]
        format: EventFormat,
    },
    /// SQL over the lake; also while nothing runs.
    #[command(
        after_help = "Examples:\n  tidemark sql \"SELECT model, sum(prompt_tokens + completion_tokens) AS tokens FROM usage_events GROUP BY 1 ORDER BY 2 DESC LIMIT 10\"\n  tidemark sql \"SELECT hour, quantile(latency_us, 0.95) FROM models_by_hour WHERE model = 'openai/gpt-4o'\" --format csv"
    )]
    Sql {
        /// The query.
        query: String,
        /// Output.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// The SQL files behind rollups and rankings.
    Pipelines {
        #[command(subcommand)]
        command: PipelinesCommand,
    },
    /// Upkeep and proof of the lake.
    Lake {
        #[command(subcommand)]
        command: LakeCommand,
    },
    /// ClickHouse beside the lake.
    Clickhouse {
        #[command(subcommand)]
        command: warehouse::Command,
    },
    /// The API keys of the router, and what they may use.
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// An account's data.
    Account {
        #[command(subcommand)]
        command: account::Command,
    },
    /// How requests are routed.
    Route {
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Checks settings, folders and addresses, and says what to do.
    Doctor,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EventFormat {
    Ndjson,
    #[value(alias = "text")]
    Table,
    #[value(hide = true)]
    Json,
}

#[derive(Debug, Subcommand)]
enum PipelinesCommand {
    /// Plans every SQL file and says how its columns merge; needs no services.
    Check,
}

#[derive(Debug, Subcommand)]
enum RouteCommand {
    /// Which lanes a request could take, in which order, and why not the others; sends nothing. Exit code 1 when none is left.
    #[command(
        after_help = "Examples:\n  tidemark route explain --body request.json\n  echo '{\"model\": \"openai/gpt-4o:floor\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}' | tidemark route explain --body - --format json"
    )]
    Explain(route::Explain),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum LakeCommand {
    /// Merges small files, and partial rows of closed days down to one row per key.
    Compact,
    /// Deletes files that no recent version names.
    Vacuum,
    /// Recomputes every rollup from the raw events and balances the ledger; exit code 1 on any difference.
    Verify,
}

/// Threads that read and write files. The library's default is 512: a look at a table's log then starts one for each of its
/// files, and each keeps megabytes of freed memory to itself.
const FILE_THREADS: usize = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let up = matches!(cli.command, Command::Up { .. });
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(FILE_THREADS)
        .on_thread_start(move || {
            if up {
                front::give_way();
            }
        })
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let done = runtime.block_on(dispatch(cli));
            // Reads that a stopped command no longer needs must not hold the exit up.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            done
        });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// One sentence on standard error.
#[allow(
    clippy::print_stderr,
    reason = "the one place where a failed command says why"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("tidemark: {error:#}");
}

/// Whether the command found all well.
async fn dispatch(cli: Cli) -> Result<bool> {
    let Place {
        config: file,
        data_dir,
    } = cli.place;
    let read = move || -> Result<Config> {
        let mut config = Config::load(file.as_deref())?;
        if let Some(dir) = &data_dir {
            config.data_dir.clone_from(dir);
        }
        Ok(config)
    };
    let mut config = read()?;
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).map_err(|_| {
        anyhow::anyhow!(
            "the setting `log` is not a filter such as `info` or `warn,tidemark_lake=debug`"
        )
    })?;
    // Tables keep no statistics of text, and the library warns of that in every query that filters by one.
    let filter =
        filter.add_directive("deltalake_core::kernel::snapshot::stats_projection=error".parse()?);
    // Workers beside each other run into each other's commits all the time; what comes of it is said by the lake.
    let filter = filter.add_directive("deltalake_core::kernel::transaction=off".parse()?);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match cli.command {
        Command::Up {
            demo,
            listen,
            print_config,
        } => {
            let read = move || -> Result<Config> {
                let mut config = read()?;
                if let Some(listen) = &listen {
                    config.listen.clone_from(listen);
                }
                Ok(config)
            };
            config = read()?;
            if print_config {
                output::line(toml::to_string_pretty(&config)?.trim_end());
                return Ok(true);
            }
            up::run(&config, demo, read).await?;
        }
        Command::Router { listen } => {
            let read = move || -> Result<Config> {
                let mut config = read()?;
                config.listen = listen.clone().unwrap_or(config.listen);
                Ok(config)
            };
            parts::router::run(&read()?, read).await?;
        }
        Command::Rollup { listen } => {
            config.listen = listen.unwrap_or(config.listen);
            parts::rollup::run(&config).await?;
        }
        Command::Api { listen } => {
            config.listen = listen.unwrap_or(config.listen);
            parts::api::run(&config).await?;
        }
        Command::Replay {
            file,
            format,
            to,
            speed,
            shift_to,
            seed,
        } => {
            let mut options = ReplayOptions {
                shift_to_now: shift_to.is_some(),
                ..ReplayOptions::default()
            };
            options.assignment.seed = seed;
            match to {
                Some(to) => deliver::run(&config, &to, &file, format, options, speed).await?,
                None => replay::run(&config, &file, format, options, speed).await?,
            }
        }
        Command::Sim(options) => sim::run(options).await?,
        Command::Events {
            follow,
            from,
            limit,
            format,
        } => {
            let format = match format {
                EventFormat::Table => Format::Table,
                EventFormat::Ndjson | EventFormat::Json => Format::Json,
            };
            tokio::task::block_in_place(|| {
                inspect::events(&config, follow, from == "start", limit, format)
            })?;
        }
        Command::Sql { query, format } => inspect::sql(&config, &query, format).await?,
        Command::Pipelines {
            command: PipelinesCommand::Check,
        } => inspect::pipelines().await?,
        Command::Lake {
            command: LakeCommand::Verify,
        } => return inspect::lake_verify(&config).await,
        Command::Lake { command } => {
            inspect::lake_upkeep(&config, command == LakeCommand::Vacuum).await?
        }
        Command::Clickhouse { command } => warehouse::run(&config, command).await?,
        Command::Keys { command } => keys::run(&config, command)?,
        Command::Account { command } => return account::run(&config, command).await,
        Command::Route {
            command: RouteCommand::Explain(explain),
        } => return route::explain(&config, &explain),
        Command::Doctor => return inspect::doctor(&config).await,
    }
    Ok(true)
}
