//! A provider's sentence about a request may quote it. The client knows its own words, but error bodies end up in logs: what
//! the client sent is taken out before the sentence is repeated.

use crate::ask::Ask;
use serde_json::Value;

/// What stands for words of the client's.
const TAKEN_OUT: &str = "[...]";
/// So many words in the same order are a quotation, however common each is.
const RUN: usize = 4;
/// A word of so many characters is rarely said by chance.
const LONG: usize = 12;

/// The sentence without what it quotes of the request. The model's name may stay.
pub fn without(sentence: &str, ask: &Ask) -> String {
    let mut said = String::new();
    let values = ask.body.iter().chain(ask.messages_body.iter().flatten());
    for (_, value) in values.filter(|(key, _)| *key != "model") {
        gather(value, &mut said);
    }
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let mut taken = vec![false; words.len()];
    for (word, taken) in words.iter().zip(&mut taken) {
        *taken = quotes(word, &said);
    }
    let bare: Vec<&str> = words.iter().map(|word| inner(word)).collect();
    for (start, run) in bare.windows(RUN).enumerate() {
        if said.contains(&run.join(" ")) {
            taken[start..start + RUN].fill(true);
        }
    }
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    for (word, taken) in words.iter().zip(taken) {
        if !taken {
            kept.push(word);
        } else if kept.last() != Some(&TAKEN_OUT) {
            kept.push(TAKEN_OUT);
        }
    }
    kept.join(" ")
}

/// Whether a word is unlike plain speech, and the client said it.
fn quotes(word: &str, said: &str) -> bool {
    word.split(|c: char| "\"'`()[]{}<>,;:=".contains(c))
        .any(|part| {
            let part = inner(part);
            let plain = part.chars().skip(1).all(|c| c.is_ascii_lowercase())
                && part.starts_with(|c: char| c.is_ascii_alphabetic());
            part.len() >= 4 && (!plain || part.len() >= LONG) && said.contains(part)
        })
}

/// All text of a value, its keys included, as words with single spaces between them.
fn gather(value: &Value, said: &mut String) {
    match value {
        Value::String(text) => words(text, said),
        Value::Array(items) => items.iter().for_each(|item| gather(item, said)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            // The API's own names, such as `image_url`, are no secret.
            if !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                words(key, said);
            }
            gather(value, said);
        }),
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// A word without the punctuation around it.
fn inner(word: &str) -> &str {
    word.trim_matches(|c: char| c.is_ascii_punctuation())
}

fn words(text: &str, said: &mut String) {
    for word in text.split_whitespace() {
        said.push_str(inner(word));
        said.push(' ');
    }
    said.push('\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn masked(sentence: &str, prompt: &str) -> String {
        let body = json!({"model": "openai/gpt-4o", "temperature": 9, "messages": [{"role": "user", "content": prompt}]});
        let ask = crate::ask::chat::read(body.as_object().unwrap().clone()).unwrap();
        without(sentence, &ask)
    }

    #[test]
    fn quotations_are_taken_out_and_advice_stays() {
        let prompt = "My number is 4711-0815,\n please do not tell anyone about Krähenfüße";
        for (sentence, wanted) in [
            (
                "messages.0.content: 'My number is 4711-0815' is refused",
                "messages.0.content: [...] is refused",
            ),
            ("no 4711-0815 here", "no [...] here"),
            ("(Krähenfüße)", "[...]"),
            (
                "he said: \"please do not tell anyone\", see 3.1",
                "he said: [...] see 3.1",
            ),
            (
                "temperature must be at most 2; please tell max_tokens the number",
                "temperature must be at most 2; please tell max_tokens the number",
            ),
            (
                "openai/gpt-4o does not take role 'user' here",
                "openai/gpt-4o does not take role 'user' here",
            ),
        ] {
            assert_eq!(masked(sentence, prompt), wanted);
        }
    }
}
