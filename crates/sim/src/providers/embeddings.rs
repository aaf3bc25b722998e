//! Embeddings, in OpenAI's shape.

use super::answer::Tokens;
use super::ask::{Ask, Measure};
use super::body::Reply;
use super::directive::Act;
use super::fault::{Fault, malformed};
use super::ledger::Ending;
use super::reply::{Call, Refused, wait};
use super::server::whole;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

const USUAL_DIMENSIONS: usize = 256;
const MOST_DIMENSIONS: usize = 8_192;
const MOST_INPUTS: usize = 2_048;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Option<Input>,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Texts(Vec<String>),
    Text(String),
    Tokens(Vec<u32>),
    Lists(Vec<Vec<u32>>),
}

/// Answers a request for embeddings. Only errors, hangs and web pages can be forced: there is nothing to stream.
pub(super) async fn answer(call: &Call<'_>, body: &[u8]) -> Result<Response<Reply>, Refused> {
    let nameless = |fault: Fault| (String::new(), fault);
    let body: Body = serde_json::from_slice(body).map_err(|error| nameless(malformed(&error)))?;
    let missing = |param| Fault {
        param: Some(param),
        ..Fault::bad(format!("Missing required parameter: '{param}'."))
    };
    let name = body.model.ok_or_else(|| nameless(missing("model")))?;
    let refused = |fault: Fault| (name.clone(), fault);
    let model = call.model(&name).map_err(refused)?;
    let inputs = match body.input.ok_or_else(|| refused(missing("input")))? {
        Input::Text(text) => vec![measured(&text)],
        Input::Texts(texts) => texts.iter().map(|text| measured(text)).collect(),
        Input::Tokens(tokens) => vec![numbered(&tokens)],
        Input::Lists(lists) => lists.iter().map(|tokens| numbered(tokens)).collect(),
    };
    if inputs.is_empty() || inputs.len() > MOST_INPUTS {
        return Err(refused(Fault {
            param: Some("input"),
            ..Fault::bad(format!("'input' must have 1 to {MOST_INPUTS} entries."))
        }));
    }
    let dimensions = body.dimensions.unwrap_or(USUAL_DIMENSIONS);
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(refused(Fault {
            param: Some("dimensions"),
            ..Fault::bad(format!("'dimensions' must be 1 to {MOST_DIMENSIONS}."))
        }));
    }
    let mut ask = Ask {
        model: name.clone(),
        ..Ask::default()
    };
    for input in &inputs {
        ask.turn("input", &[input]);
    }
    let words = inputs.last().and_then(|input| input.words.as_deref());
    let directive = call.directive(words).map_err(refused)?;
    let plan = call.plan(model, &ask, &directive);
    if let Act::Status(status) = plan.act {
        return Err(refused(Fault::of(status, plan.retry_after)));
    }
    let mut bill = call.bill(&name);
    if plan.act == Act::Hang {
        return std::future::pending().await;
    }
    wait(plan.ttft).await;
    bill.entry.ending = Ending::Answered;
    if plan.act == Act::Html {
        return Ok(whole(200, "text/html", b"<html>502</html>".to_vec()));
    }
    let tokens = ask.prompt_tokens();
    bill.entry.billed = Tokens {
        prompt: tokens,
        ..Tokens::default()
    };
    let base64 = body.encoding_format.as_deref() == Some("base64");
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input.hash, dimensions);
            let embedding = if base64 {
                json!(base64_of(&vector))
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let mut out = json!({ "object": "list", "data": data, "model": name });
    if plan.usage {
        out["usage"] = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    }
    Ok(whole(200, "application/json", out.to_string().into_bytes()))
}

fn measured(text: &str) -> Measure {
    Measure {
        chars: text.chars().count() as u64,
        hash: xxhash_rust::xxh64::xxh64(text.as_bytes(), 0),
        words: super::directive::in_text(text).map(str::to_owned),
        ..Measure::default()
    }
}

fn numbered(tokens: &[u32]) -> Measure {
    Measure {
        chars: tokens.len() as u64 * 4,
        ..measured(&format!("{tokens:?}"))
    }
}

/// A vector of length 1 that belongs to a text.
fn vector(hash: u64, dimensions: usize) -> Vec<f32> {
    let mut state = hash | 1;
    let raw: Vec<f32> = (0..dimensions)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        })
        .collect();
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::EPSILON);
    raw.into_iter().map(|x| x / length).collect()
}

fn base64_of(vector: &[f32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            if place <= group.len() {
                out.push(char::from(
                    LETTERS[(bits >> (18 - 6 * place) & 63) as usize],
                ));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_base64() {
        assert_eq!(base64_of(&[1.0]), "AACAPw==");
        assert_eq!(base64_of(&[1.0, -2.0]), "AACAPwAAAMA=");
    }

    #[test]
    fn vectors_have_length_one() {
        let length: f32 = vector(7, 256).iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4);
    }
}
