//! A schema registry of Confluent's API, asked over HTTP.

use super::client::password;
use super::{KafkaSettings, TopicError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// A schema is some kilobytes.
const LARGEST: usize = 1 << 20;
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// The registry of the settings.
pub(super) struct Registry {
    url: String,
    login: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a registry answers; each question gets some of it.
#[derive(Deserialize)]
struct Answer {
    id: Option<u32>,
    schema: Option<String>,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    message: Option<String>,
}

impl Registry {
    /// None where the settings name none.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Option<Self>, TopicError> {
        let settings = &settings.registry;
        if settings.url.is_empty() {
            return Ok(None);
        }
        let login = match settings.user.is_empty() {
            true => None,
            false => {
                let both = format!("{}:{}", settings.user, password(&settings.password_file)?);
                let value = format!("Basic {}", BASE64_STANDARD.encode(both));
                let mut value = HeaderValue::try_from(value)
                    .map_err(|error| TopicError::Settings(error.to_string()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        // Named: several are built in, and the library does not choose between them.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| TopicError::Settings(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Some(Self {
            url: settings.url.trim_end_matches('/').to_owned(),
            login,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }))
    }

    /// The number of a schema for the values of a topic. A schema that is new there is entered.
    pub(super) async fn number(&self, topic: &str, schema: &str) -> Result<u32, TopicError> {
        let path = format!("/subjects/{topic}-value/versions");
        let body = serde_json::json!({ "schema": schema }).to_string();
        let (_, answer) = self.ask(Method::POST, &path, body).await?;
        answer
            .id
            .ok_or_else(|| self.failed("it numbers no schemas".to_owned()))
    }

    /// The Avro schema of a number; none where there is none.
    pub(super) async fn schema(&self, number: u32) -> Result<Option<String>, TopicError> {
        let path = format!("/schemas/ids/{number}");
        let (found, answer) = self.ask(Method::GET, &path, String::new()).await?;
        let avro = answer.kind.is_none_or(|kind| kind == "AVRO");
        Ok(answer.schema.filter(|_| found && avro))
    }

    /// Whether what was asked for is there, and the answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(bool, Answer), TopicError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, JSON);
        if let Some(login) = &self.login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request
            .body(Full::from(body))
            .map_err(|error| self.failed(error.to_string()))?;
        let asked = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await?;
            let answer: Answer = serde_json::from_slice(&body.to_bytes())?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, answer))
        };
        let (status, answer) = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.failed(format!("no answer of its kind ({error})"))),
            Err(_) => return Err(self.failed("no answer in five seconds".to_owned())),
        };
        match status.as_u16() {
            200 => Ok((true, answer)),
            404 => Ok((false, answer)),
            status => {
                let why = answer.message.unwrap_or_default();
                Err(self.failed(format!("it answers {status}, {why}")))
            }
        }
    }

    fn failed(&self, why: String) -> TopicError {
        TopicError::Registry {
            url: self.url.clone(),
            why,
        }
    }
}
