//! No bytes make an adapter panic.

use super::*;

fn everything(bytes: &[u8], status: u16) {
    for dialect in ALL {
        let adapter = adapter(dialect);
        for operation in [Operation::Chat, Operation::Embeddings] {
            for piece in adapter
                .reply(&ask(operation, json!({})), bytes)
                .unwrap_or_default()
            {
                // An event whose parts exceed their whole would be turned away.
                if let Piece::Usage(u) = piece {
                    assert!(u.cached + u.cache_write <= u.prompt && u.reasoning <= u.completion);
                    assert!(u.image_prompt + u.audio_prompt + u.video_prompt <= u.prompt);
                    assert!(u.image_completion + u.audio_completion <= u.completion);
                }
            }
        }
        let error = adapter.error(status, bytes);
        assert!(!error.message.is_empty() && error.message.chars().count() <= 300);
        let _ = decode(dialect, &[bytes]);
        let mut decoder: Box<dyn Decoder> = adapter.stream();
        for part in bytes.split(|b| *b == b'\n') {
            let _ = decoder.event(
                &Event {
                    name: "error".to_owned(),
                    data: part.to_vec().into(),
                },
                &mut Vec::new(),
            );
        }
    }
}

/// JSON of the words the dialects use, in every wrong place.
fn jumble() -> impl Strategy<Value = Value> {
    const WORDS: &str = "choices delta message tool_calls function name arguments id index content usage prompt_tokens \
        completion_tokens error code type message_start content_block content_block_start content_block_delta tool_use message_delta \
        stop_reason candidates parts text functionCall args finishReason usageMetadata promptTokenCount cachedContentTokenCount \
        prompt_tokens_details image_tokens audio_tokens cached_tokens cache_write_tokens input_tokens output_tokens messages role tool assistant \
        image_url tools reasoning response_format details retryDelay data:image/png;base64,A";
    let word = prop::sample::select(WORDS.split_whitespace().collect::<Vec<_>>());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..50).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let pairs = prop::collection::vec((word.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            pairs.prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        everything(&bytes, status);
    }

    #[test]
    fn no_json_causes_a_panic(value in jumble(), status in any::<u16>(), cut in 0_usize..400) {
        let text = value.to_string();
        everything(text.as_bytes(), status);
        everything(format!("data: {text}\n\ndata: {text}\n\n").as_bytes(), status);
        everything(&text.as_bytes()[..cut.min(text.len())], status);
    }

    #[test]
    fn no_request_causes_a_panic(value in jumble(), messages in jumble(), message in jumble()) {
        let mut asked = ask(Operation::Chat, value);
        asked.stream = true;
        for messages in [messages, json!([message.clone(), {"role": "assistant", "tool_calls": message, "content": [message]}])] {
            asked.body.insert("messages".to_owned(), messages);
            for dialect in ALL {
                for key in ["", "key", "bad\nkey"] {
                    let _ = adapter(dialect).request(&asked, Target { model: "gemini-3", max_output: 0, key });
                }
            }
        }
    }
}
