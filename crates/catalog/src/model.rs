use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::price::Price;

/// Who made a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// First half of the ids of its models, such as `meta-llama`.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Country of the main office, ISO 3166-1 alpha-2.
    pub country: String,
}

/// Who serves models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// First half of the ids of its endpoints, such as `deepinfra`.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Country of the main office, ISO 3166-1 alpha-2.
    pub country: String,
    /// Coarse regions it usually serves from, such as `eu-west`.
    pub regions: Vec<String>,
    /// What it does with requests.
    #[serde(default)]
    pub data: DataPolicy,
}

/// What becomes of a request's content at a provider. The default is what must be assumed where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPolicy {
    /// It may use requests for ends of its own, such as training.
    pub collects: bool,
    /// It keeps nothing once the answer is given (zero data retention).
    pub zdr: bool,
}

impl Default for DataPolicy {
    fn default() -> Self {
        Self {
            collects: true,
            zdr: false,
        }
    }
}

impl DataPolicy {
    /// Whether requests may be collected: what is not kept cannot be.
    pub fn may_collect(self) -> bool {
        self.collects && !self.zdr
    }
}

/// What a model takes in or gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Text.
    Text,
    /// Still images.
    Image,
    /// Sound.
    Audio,
    /// Moving images.
    Video,
    /// Documents, such as PDF.
    File,
    /// Vectors instead of an answer.
    Embeddings,
}

/// Where a model stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// On sale.
    Live,
    /// Still listed, but its end is announced or has come: move away.
    Deprecated,
    /// No longer served by its author. Kept so that old events still have a name and a price.
    Retired,
}

/// A model, whoever serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `author/slug`, without a variant such as `:free`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Slug of the author; always the first half of the id.
    pub author: String,
    /// Day of release.
    pub released: NaiveDate,
    /// Longest prompt and completion together, in tokens, as its author states it. Endpoints have their own.
    pub context_length: u64,
    /// Longest completion, in tokens; 0 for embedding models.
    pub max_output: u64,
    /// Whether the weights can be downloaded.
    pub open_weights: bool,
    /// What it takes in.
    pub input: Vec<Modality>,
    /// What it gives out.
    pub output: Vec<Modality>,
    /// Whether it can call tools.
    pub tools: bool,
    /// Whether it can reason before it answers.
    pub reasoning: bool,
    /// Where it stands in its life, as of the day the catalog was made.
    pub status: Status,
    /// Announced last day of the author's own service, where known.
    pub deprecated: Option<NaiveDate>,
    /// Id of the model to move to, where known.
    pub successor: Option<String>,
}

impl Model {
    /// Second half of the id, without the author.
    pub fn slug(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(_, slug)| slug)
    }
}

/// Number format of the weights as served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// 4-bit integers.
    Int4,
    /// 8-bit integers.
    Int8,
    /// 4-bit floats.
    Fp4,
    /// 6-bit floats.
    Fp6,
    /// 8-bit floats.
    Fp8,
    /// IEEE half precision.
    Fp16,
    /// Brain floats.
    Bf16,
    /// Single precision.
    Fp32,
    /// The provider does not say.
    Unknown,
}

/// A model as one provider serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `provider/model-slug`.
    pub id: String,
    /// Id of the model.
    pub model: String,
    /// Slug of the provider.
    pub provider: String,
    /// What the provider itself calls the model.
    pub upstream: String,
    /// Number format of the weights.
    pub quantization: Quantization,
    /// Longest prompt and completion together, in tokens.
    pub context_length: u64,
    /// Longest completion, in tokens, where it is not the model's own.
    pub max_output: Option<u64>,
    /// Parameters known to work, such as `temperature` and `tools`; `None` where nothing is known.
    pub parameters: Option<Vec<String>>,
    /// What becomes of requests, where it is not what the provider does in general.
    pub data: Option<DataPolicy>,
    /// Coarse regions it is served from, such as `us-east`.
    pub regions: Vec<String>,
    /// All prices ever in force, from the oldest to the newest; never empty.
    pub prices: Vec<Price>,
}

impl Endpoint {
    /// The price in force at a moment: the newest whose date has come, at that time of day. `None` before the first one.
    pub fn price_at(&self, at: DateTime<Utc>) -> Option<&Price> {
        let started = self.prices.partition_point(|price| price.from <= at);
        Some(self.prices[..started].last()?.at_time(at.time()))
    }
}
