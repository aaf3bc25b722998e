//! Pydantic AI's recordings.

use super::*;

struct Exchange {
    name: String,
    dialect: Result<Dialect, &'static str>,
    host: String,
    status: u16,
    sse: bool,
    body: String,
}

fn exchanges() -> Option<Vec<Exchange>> {
    let text = gunzip(&data("sse/pydantic_ai/exchanges.jsonl.gz")?);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let (host, path) = (
            string(&line, "/host"),
            string(&line, "/path").split('?').next().unwrap(),
        );
        let dialect = if line["llm_api"] != true {
            Err("no model answers there (files, batches, lists)")
        } else if path.ends_with("/chat/completions") {
            match host {
                "api.openai.com" => Ok(Dialect::Openai),
                "demo-endpoints.pydantic.workers.dev" => {
                    Err("a test server that answers with no chat answer on purpose")
                }
                _ => Ok(Dialect::OpenaiCompatible),
            }
        } else if path.ends_with("/v1/messages") {
            Ok(Dialect::Anthropic)
        } else if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") {
            Ok(Dialect::Gemini)
        } else if path.contains("/responses") {
            Err("OpenAI Responses API")
        } else if host.starts_with("bedrock") || path.contains("/bedrock/") {
            Err("Bedrock (converse, invoke, binary event frames)")
        } else if path.ends_with("count_tokens") {
            Err("Anthropic's token counting")
        } else if host.contains("cohere") {
            Err("Cohere v2")
        } else {
            Err("another API of a provider")
        };
        Exchange {
            name: format!("{} #{}", string(&line, "/file"), line["i"]),
            dialect,
            host: host.to_owned(),
            status: u16::try_from(line["status"].as_u64().unwrap()).unwrap(),
            sse: line["sse"] == true,
            body: line["body"].as_str().unwrap_or_default().to_owned(),
        }
    };
    Some(text.lines().map(read).collect())
}

#[test]
fn recorded_streams() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status == 200 && e.sse) {
        match e.dialect {
            Ok(dialect) => tally.claimed(
                &format!("{dialect:?} {}", e.host),
                &e.name,
                compare(dialect, &e.body),
            ),
            Err(reason) => tally.left(reason),
        }
    }
    tally.report("pydantic_ai, streams");
}

#[test]
fn recorded_bodies() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status == 200 && !e.sse) {
        match e.dialect {
            Ok(dialect) => tally.claimed(
                &format!("{dialect:?} {}", e.host),
                &e.name,
                compare_body(dialect, &e.body),
            ),
            Err(reason) => tally.left(reason),
        }
    }
    tally.report("pydantic_ai, whole bodies");
}

#[test]
fn recorded_errors() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status >= 400) {
        for dialect in ALL {
            let error = adapter(dialect).error(e.status, e.body.as_bytes());
            assert!(
                !error.message.is_empty()
                    && error.message.chars().count() <= 300
                    && error.status == e.status
            );
        }
        let Ok(dialect) = e.dialect else {
            tally.left("error of an API that is not claimed");
            continue;
        };
        let error = adapter(dialect).error(e.status, e.body.as_bytes());
        let want = match e.status {
            404 => ErrorKind::NotFound,
            429 => ErrorKind::RateLimited,
            400 if e.body.contains("tool_use_failed") => ErrorKind::Server,
            _ => ErrorKind::InvalidRequest,
        };
        let problem = (error.kind != want)
            .then(|| format!("{:?} instead of {want:?}: {}", error.kind, error.message));
        tally.claimed(
            &format!("{dialect:?} {} {} -> {}", e.host, e.status, want.as_str()),
            &e.name,
            problem,
        );
    }
    tally.report("pydantic_ai, errors");
}
