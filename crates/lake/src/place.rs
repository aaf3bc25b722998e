//! Where a lake is: a folder, or a bucket of an object store that speaks S3.

use crate::error::LakeError;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A store that is away for longer ends whoever writes: nothing is lost, the log keeps what is not committed.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);

/// Where a lake is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of this machine. It is made if it is not there.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Bucket),
}

/// A place in a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    url: Url,
    store: Arc<dyn ObjectStore>,
    /// Where merging puts what it cannot hold in memory.
    scratch: PathBuf,
}

impl From<&Path> for Place {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&PathBuf> for Place {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

/// Which bucket, and how to get in. What is empty comes from the environment, under Amazon's names (`AWS_ACCESS_KEY_ID`), or from the
/// machine's role.
#[derive(Clone, Default)]
pub struct BucketAddress {
    /// `s3://BUCKET/PATH`.
    pub url: String,
    /// Address of the store; empty for Amazon's.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Name of a key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
}

impl Bucket {
    /// A bucket that is there already. `scratch` is a folder of this machine, made when it is needed.
    ///
    /// # Errors
    /// When the address is none, or the environment does not fit.
    pub fn new(address: &BucketAddress, scratch: &Path) -> Result<Self, LakeError> {
        let fail = |why: String| LakeError::Bucket {
            url: address.url.clone(),
            why,
        };
        let url = Url::parse(address.url.trim_end_matches('/'))
            .ok()
            .filter(|url| url.scheme() == "s3" && url.host_str().is_some())
            .ok_or_else(|| fail("it is not of the form s3://BUCKET/PATH".to_owned()))?;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_retry(RetryConfig {
                retry_timeout: PATIENCE,
                ..RetryConfig::default()
            });
        let mut client = ClientOptions::new().with_connect_timeout(CONNECT);
        if !address.endpoint.is_empty() {
            builder = builder.with_endpoint(address.endpoint.trim_end_matches('/'));
            client = client.with_allow_http(address.endpoint.starts_with("http://"));
        }
        if !address.region.is_empty() {
            builder = builder.with_region(&address.region);
        }
        if !address.access_key.is_empty() {
            builder = builder
                .with_access_key_id(&address.access_key)
                .with_secret_access_key(&address.secret_key);
        }
        let store = builder
            .with_client_options(client)
            .build()
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            url,
            store: Arc::new(store),
            scratch: scratch.to_owned(),
        })
    }

    /// Whether anything of a lake is there.
    ///
    /// # Errors
    /// When the store does not answer, or not to these keys.
    pub async fn holds_a_lake(&self, table: &str) -> Result<bool, LakeError> {
        let below = Key::from_url_path(format!("{}/{table}/_delta_log", self.url.path()))
            .map_err(|error| self.failed(&error))?;
        let listed = self.store.list_with_delimiter(Some(&below)).await;
        let listed = listed.map_err(|error| self.failed(&error))?;
        Ok(!listed.objects.is_empty())
    }

    fn failed(&self, why: &dyn std::error::Error) -> LakeError {
        LakeError::Bucket {
            url: self.url.to_string(),
            why: why.to_string(),
        }
    }
}

/// The folder of one table, or what is one in a bucket.
#[derive(Debug)]
pub(crate) struct Root {
    /// None in a bucket: what is stored there is durable.
    pub(crate) folder: Option<PathBuf>,
    /// A folder of this machine for what does not fit in memory.
    pub(crate) scratch: PathBuf,
}

impl Place {
    /// The handle of a table, and its root. A folder is made.
    pub(crate) fn table(&self, name: &str) -> Result<(DeltaTable, Root), LakeError> {
        let fail = |source| LakeError::delta(name, source);
        let (builder, root) = match self {
            Self::Folder(lake) => {
                let path = lake.join(name);
                std::fs::create_dir_all(&path).map_err(LakeError::Folder)?;
                let path = path.canonicalize().map_err(LakeError::Folder)?;
                let url = deltalake::ensure_table_uri(path.to_string_lossy()).map_err(fail)?;
                let root = Root {
                    folder: Some(path.clone()),
                    scratch: path,
                };
                (DeltaTableBuilder::from_url(url).map_err(fail)?, root)
            }
            Self::Bucket(bucket) => {
                let url = format!("{}/{name}", bucket.url);
                let url = Url::parse(&url)
                    .map_err(|_| fail(DeltaTableError::InvalidTableLocation(url)))?;
                // Not asked to make the store, the library still wants to know what a log in such a place is.
                let scheme = Url::parse("s3://").map_err(|error| bucket.failed(&error))?;
                logstore_factories().insert(scheme, Arc::new(Conditional));
                let root = Root {
                    folder: None,
                    scratch: bucket.scratch.clone(),
                };
                let builder = DeltaTableBuilder::from_url(url.clone())
                    .map_err(fail)?
                    .with_storage_backend(Arc::clone(&bucket.store), url);
                (builder, root)
            }
        };
        Ok((builder.build().map_err(fail)?, root))
    }
}

/// A log whose entries are put on the condition that they are not there: of two who commit, one is told that it was second.
#[derive(Debug)]
struct Conditional;

impl LogStoreFactory for Conditional {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(
            prefixed_store,
            root_store,
            location,
            options,
        ))
    }
}
