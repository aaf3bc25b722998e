//! Vercel AI's fixtures.

use super::*;

fn files(under: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out)
        } else {
            out.push(path)
        }
    }
}

/// What an answer is, from its looks.
fn looks(first: &Value, text: &str) -> Result<(Dialect, Operation), &'static str> {
    let kind = string(first, "/type");
    if first.pointer("/choices/0/text").is_some() && first.pointer("/choices/0/delta").is_none() {
        Err("OpenAI's old completions")
    } else if first["choices"].is_array() {
        Ok((Dialect::OpenaiCompatible, Operation::Chat))
    } else if kind == "message_start" || kind == "message" {
        Ok((Dialect::Anthropic, Operation::Chat))
    } else if text.contains("\"partialArgs\"") {
        Err("Vertex's streamed arguments, which are never asked for")
    } else if first["candidates"].is_array() {
        Ok((Dialect::Gemini, Operation::Chat))
    } else if first.pointer("/data/0/embedding").is_some()
        && first["usage"]["prompt_tokens"].is_u64()
    {
        Ok((Dialect::OpenaiCompatible, Operation::Embeddings))
    } else if kind.starts_with("response.") || first["object"] == "response" {
        Err("OpenAI Responses API")
    } else {
        Err(
            "another API (Bedrock, Cohere, images, speech, reranking, skills, interactions) or an error",
        )
    }
}

#[test]
fn fixtures() {
    let Some(root) = data("sse/vercel_ai/packages") else {
        return;
    };
    let (mut paths, mut streams, mut bodies) = (Vec::new(), Tally::default(), Tally::default());
    files(&root, &mut paths);
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let package = name.split('/').next().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        if name.ends_with(".json") {
            let Ok(body) = serde_json::from_str::<Value>(&text) else {
                bodies.left("not JSON");
                continue;
            };
            match looks(&body, &text) {
                Ok((_, Operation::Embeddings)) => {
                    let pieces = adapter(Dialect::Openai)
                        .reply(&ask(Operation::Embeddings, json!({})), text.as_bytes())
                        .unwrap();
                    let want = Piece::Usage(Usage {
                        prompt: count(&body, "/usage/prompt_tokens"),
                        ..Usage::default()
                    });
                    bodies.claimed(
                        &format!("embeddings {package}"),
                        &name,
                        (pieces.last() != Some(&want)).then(|| format!("{pieces:?}")),
                    );
                }
                Ok((dialect, _)) => bodies.claimed(
                    &format!("{dialect:?} {package}"),
                    &name,
                    compare_body(dialect, &text),
                ),
                Err(reason) => bodies.left(reason),
            }
            continue;
        }
        let stream = if name.ends_with(".sse") {
            text
        } else {
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| format!("data: {line}\r\n\r\n"))
                .collect()
        };
        let Some(first) = stream
            .lines()
            .find_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        else {
            streams.left("not JSON");
            continue;
        };
        match looks(&first, &stream) {
            Ok((dialect, _)) if name.ends_with("spliced-message-start.chunks.txt") => {
                let problem = decode_cut(dialect, &stream)
                    .is_ok()
                    .then(|| "two answers in one were taken for one".to_owned());
                streams.claimed(
                    "Anthropic anthropic: two answers in one, refused",
                    &name,
                    problem,
                );
            }
            // Some files hold several turns, one after the other: each is an answer of its own.
            Ok((dialect, _)) => {
                for answer in stream.split_inclusive("data: {\"type\":\"message_stop\"}\r\n\r\n") {
                    streams.claimed(
                        &format!("{dialect:?} {package}"),
                        &name,
                        compare(dialect, answer),
                    );
                }
            }
            Err(reason) => streams.left(reason),
        }
    }
    streams.report("vercel_ai, streams");
    bodies.report("vercel_ai, whole bodies");
}
