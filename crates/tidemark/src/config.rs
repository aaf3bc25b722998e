//! Settings: built-in defaults, then `tidemark.toml`, then `TIDEMARK_*` of the environment.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemark_bus::kafka::KafkaSettings;
use tidemark_lake::{Bucket, BucketAddress, Log, Place};
use tidemark_rollup::WorkerOptions;
use tidemark_router::settings::Settings;
use tidemark_warehouse::WarehouseSettings;

/// Every setting. Unknown keys are errors, so that a typing slip is not silently the default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where journal and lake live.
    pub data_dir: PathBuf,
    /// HTTP address.
    pub listen: String,
    /// Journal partitions; fixed once the journal exists.
    pub partitions: u32,
    /// Milliseconds between commits under light traffic.
    pub commit_interval_ms: u64,
    /// Events after which a commit does not wait.
    pub max_batch_rows: usize,
    /// Days of events to take in; 0 is unlimited. Older ones become dead letters.
    pub retention_days: u32,
    /// Bytes the journal may hold; beyond, appends are refused until the rollup has caught up.
    pub journal_max_bytes: u64,
    /// Seconds between compactions.
    pub compact_every_s: u64,
    /// Seconds between vacuums.
    pub vacuum_every_s: u64,
    /// Seconds for which files no version names any more are kept for running queries.
    pub file_retention_s: u64,
    /// Public cells with fewer distinct accounts fold into `other`.
    pub min_accounts: u32,
    /// Names that hide which model answers, in the shape of `crates/catalog/data/aliases.toml`; none if empty. Read again at SIGHUP.
    pub aliases_file: PathBuf,
    /// Log filter, as in `info,tidemark_lake=debug`.
    pub log: String,
    /// The router and its upstreams.
    pub router: Settings,
    /// Kafka between routers and rollup workers, for `tidemark router`, `rollup` and `api`.
    pub kafka: KafkaSettings,
    /// Where the lake is, if not below the data folder.
    pub lake: LakeSettings,
    /// Where `tidemark api` reads: `lake` or `clickhouse`.
    pub api_reads: ApiReads,
    /// ClickHouse beside the lake; none without a URL.
    pub clickhouse: WarehouseSettings,
}

/// A bucket for the lake. Without a key it is found as Amazon's tools find it: `AWS_ACCESS_KEY_ID` and the like, or the machine's role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeSettings {
    /// `s3://BUCKET/PATH`; empty for the folder `lake` below the data folder.
    pub url: String,
    /// Address of the object store; empty for Amazon's.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Name of a key.
    pub access_key: String,
    /// File that holds the key.
    pub secret_key_file: PathBuf,
}

/// Where the api reads what rankings are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiReads {
    /// The lake below the data folder.
    Lake,
    /// Its copy in ClickHouse; no data folder is needed.
    Clickhouse,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("tidemark-data"),
            listen: "127.0.0.1:8480".to_owned(),
            partitions: 4,
            commit_interval_ms: 1000,
            max_batch_rows: WorkerOptions::default().max_rows,
            retention_days: 0,
            journal_max_bytes: 4 << 30,
            compact_every_s: 10,
            vacuum_every_s: 600,
            file_retention_s: 900,
            min_accounts: 10,
            aliases_file: PathBuf::new(),
            log: "warn".to_owned(),
            router: Settings::default(),
            kafka: KafkaSettings::default(),
            lake: LakeSettings::default(),
            api_reads: ApiReads::Lake,
            clickhouse: WarehouseSettings::default(),
        }
    }
}

/// Environment variables of the prefix that are not settings.
const NOT_SETTINGS: [&str; 3] = [
    "TIDEMARK_VOLATILE_PAGE_CACHE",
    "TIDEMARK_DEMO_EVENTS",
    crate::deliver::KEY,
];

impl Config {
    /// Events older than this at arrival are refused; `None` takes all.
    pub fn retention(&self) -> Option<Duration> {
        (self.retention_days > 0)
            .then(|| Duration::from_secs(u64::from(self.retention_days) * 86_400))
    }

    /// Where the lake is.
    pub fn place(&self) -> Result<Place> {
        if self.lake.url.is_empty() {
            return Ok(Place::from(&self.data_dir.join("lake")));
        }
        let lake = &self.lake;
        let secret_key = match lake.access_key.is_empty() {
            true => String::new(),
            false => std::fs::read_to_string(&lake.secret_key_file).with_context(|| {
                let file = lake.secret_key_file.display();
                format!("the key of the lake's bucket cannot be read from {file}")
            })?,
        };
        let address = BucketAddress {
            url: lake.url.clone(),
            endpoint: lake.endpoint.clone(),
            region: lake.region.clone(),
            access_key: lake.access_key.clone(),
            secret_key: secret_key.trim().to_owned(),
        };
        let scratch = self.data_dir.join("scratch");
        Ok(Place::Bucket(Bucket::new(&address, &scratch)?))
    }

    /// The same for eyes.
    pub fn place_named(&self) -> String {
        match self.lake.url.is_empty() {
            true => self.data_dir.display().to_string(),
            false => self.lake.url.clone(),
        }
    }

    /// What the offsets of a lake count in that is written as these settings say.
    pub fn log(&self, journal_partitions: u32) -> Log {
        match self.kafka.is_set() {
            true => Log::topic(&self.kafka.topic, self.kafka.partitions),
            false => Log::journal(journal_partitions),
        }
    }

    /// Reads the settings; `file` must exist if given, `./tidemark.toml` is read if there.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("the configuration {} cannot be read", path.display()))?,
            None => match std::fs::read_to_string("tidemark.toml") {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                read => read.context("./tidemark.toml cannot be read: mend it or remove it")?,
            },
        };
        let environment = std::env::vars().filter(|(key, _)| !NOT_SETTINGS.contains(&key.as_str()));
        Self::merge(&text, environment)
    }

    fn merge(text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut table: toml::Table = text.parse().context("tidemark.toml is not valid TOML")?;
        for (key, value) in environment {
            if let Some(name) = key.strip_prefix("TIDEMARK_") {
                // `8` and `true` mean what they say, anything else is text.
                let value = match value.parse::<i64>() {
                    Ok(number) => toml::Value::Integer(number),
                    Err(_) => toml::Value::String(value),
                };
                let name = name.to_lowercase();
                // TIDEMARK_KAFKA__BROKERS is `brokers` under [kafka].
                match name.split_once("__") {
                    None => table.insert(name, value),
                    Some((section, name)) => match table
                        .entry(section)
                        .or_insert_with(|| toml::Table::new().into())
                    {
                        toml::Value::Table(section) => section.insert(name.to_owned(), value),
                        _ => bail!("the setting `{section}` is no section"),
                    },
                };
            }
        }
        let known = toml::Table::try_from(Self::default()).context("defaults")?;
        if let Some(unknown) = table.keys().find(|key| !known.contains_key(*key)) {
            let near = known
                .keys()
                .min_by_key(|key| distance(key, unknown))
                .map_or("", |key| key.as_str());
            bail!(
                "unknown setting `{unknown}` (did you mean `{near}`?); `tidemark up --print-config` lists all settings"
            );
        }
        let config: Self = table.try_into().map_err(|error: toml::de::Error| {
            anyhow::anyhow!("setting refused: {}", error.message())
        })?;
        if !(1..=64).contains(&config.partitions) {
            bail!("partitions must be from 1 to 64, not {}", config.partitions);
        }
        if !(60..=86_400).contains(&config.file_retention_s) {
            bail!(
                "file_retention_s must be from 60 to 86400, not {}: running queries and commits need the files, and opening \
                 the lake reads what is remembered of them",
                config.file_retention_s
            );
        }
        if config.kafka.is_set() && !(1..=1024).contains(&config.kafka.partitions) {
            bail!(
                "kafka.partitions must be from 1 to 1024, not {}",
                config.kafka.partitions
            );
        }
        if config.clickhouse.is_set() {
            config.clickhouse.check()?;
        } else if config.api_reads == ApiReads::Clickhouse {
            bail!("api_reads is clickhouse, and none is named: set `url` under [clickhouse]");
        }
        if config.max_batch_rows == 0 || config.commit_interval_ms == 0 {
            bail!("max_batch_rows and commit_interval_ms must be above 0");
        }
        Ok(config)
    }
}

/// Edit distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let next = (corner + usize::from(x != y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn environment_beats_file_beats_default() {
        let env = [
            ("TIDEMARK_PARTITIONS".to_owned(), "2".to_owned()),
            ("HOME".to_owned(), "/x".to_owned()),
        ];
        let config =
            Config::merge("partitions = 8\nlisten = '127.0.0.1:1'", env.into_iter()).unwrap();
        assert_eq!(
            (
                config.partitions,
                config.listen.as_str(),
                config.commit_interval_ms
            ),
            (2, "127.0.0.1:1", 1000)
        );
    }

    #[test]
    fn unknown_and_wrong_settings_are_named() {
        let none = || std::iter::empty();
        let error = Config::merge("partitons = 8", none())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`partitons`") && error.contains("`partitions`"),
            "{error}"
        );
        let error = Config::merge("partitions = 'many'", none())
            .unwrap_err()
            .to_string();
        assert!(error.contains("invalid type"), "{error}");
        assert!(Config::merge("partitions = 0", none()).is_err());
    }

    #[test]
    fn settings_of_the_containers_are_settings() {
        let text = include_str!("../../../docker/tidemark.toml");
        // The example in it, too.
        let whole: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with("[[") || rest.contains(" = ") => rest,
                _ => line,
            })
            .collect();
        let config = Config::merge(&whole.join("\n"), std::iter::empty()).unwrap();
        assert!(config.kafka.is_set() && config.clickhouse.is_set());
        assert_eq!(config.router.upstreams.len(), 1);
    }
}
