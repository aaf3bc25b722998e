//! Events that are a function of their number, and the messages in which a careless client sends them.

use crate::Dice;
use tidemark_event::wire::Writer;
use tidemark_event::{EventId, FailedAttempt, Micros, UsageEvent};

const SECOND: i64 = 1_000_000;

/// 2025-06-15T15:06:40Z: before any clock these tests run by.
pub const BASE_US: i64 = 1_750_000_000_000_000;

/// Models of all made-up traffic.
pub const MODELS: [&str; 6] = [
    "alder/one",
    "alder/two",
    "birch/large",
    "cedar/mini",
    "dogwood/tiny",
    "elm/rare",
];

/// The `n`th event of the stream named `source`, which begins at `base_us`.
pub fn event_of(source: &str, base_us: i64, n: u64) -> UsageEvent {
    let mut dice = Dice::new(n ^ 0x71DE_0000_0000_0000);
    // Three seconds apart; now and then one that comes a day late.
    let late = if n % 13 == 5 { 26 * 3600 * SECOND } else { 0 };
    let ts = Micros(base_us + n as i64 * 3 * SECOND + dice.below(900_000) as i64 - late);
    let model = *dice.pick(&MODELS);
    let provider = if dice.once_in(12) {
        ""
    } else {
        *dice.pick(&["north", "south", "east"])
    };
    let failed = provider.is_empty() || dice.once_in(15);
    let streamed = dice.once_in(2);
    let prompt = 1 + dice.below(6_000) as i64;
    let completion = if failed { 0 } else { dice.below(900) as i64 };
    let tools = if failed { 0 } else { dice.below(4) as i32 / 2 };
    let (cost_prompt, cost_completion) = (prompt * 7, completion * 31);
    let cost_request = if dice.once_in(9) { 1_000 } else { 0 };
    let attempts = if dice.once_in(7) {
        1 + dice.below(2)
    } else {
        0
    };
    UsageEvent {
        event_id: EventId::derived(ts, source.as_bytes(), n),
        ts,
        request_id: format!("req-{n}"),
        session_id: format!("session-{}", n / 9),
        account_id: format!("account-{}", dice.below(60)),
        app: (*dice.pick(&["cli", "editor", "chat", ""])).to_owned(),
        streamed,
        model_requested: model.to_owned(),
        model: model.to_owned(),
        variant: (*dice.pick(&["", "", "", "free", "nitro"])).to_owned(),
        provider: provider.to_owned(),
        endpoint: if provider.is_empty() {
            String::new()
        } else {
            format!("{provider}/{model}@eu")
        },
        region: if provider.is_empty() {
            String::new()
        } else {
            "eu".to_owned()
        },
        prompt_tokens: prompt,
        cached_tokens: dice.below(prompt as u64 / 2 + 1) as i64,
        cache_write_tokens: dice.below(prompt as u64 / 4 + 1) as i64,
        completion_tokens: completion,
        reasoning_tokens: dice.below(completion as u64 + 1) as i64,
        cost_nanousd: cost_prompt + cost_completion + cost_request,
        cost_prompt_nanousd: cost_prompt,
        cost_completion_nanousd: cost_completion,
        cost_request_nanousd: cost_request,
        ttft_us: (!failed).then(|| 80_000 + dice.below(900_000) as i64),
        latency_us: 100_000 + dice.below(9_000_000) as i64,
        generation_us: (streamed && !failed).then(|| 1_000 + dice.below(5_000_000) as i64),
        overhead_us: 90 + dice.below(400) as i64,
        outcome: if provider.is_empty() {
            "rejected"
        } else if failed {
            "error"
        } else {
            "ok"
        }
        .to_owned(),
        status: if failed {
            *dice.pick(&[429, 500, 503, 400])
        } else {
            200
        },
        error_type: if failed {
            "upstream".to_owned()
        } else {
            String::new()
        },
        finish_reason: if failed {
            "error"
        } else if tools > 0 {
            "tool_calls"
        } else {
            *dice.pick(&["stop", "stop", "length"])
        }
        .to_owned(),
        refusal: (*dice.pick(&[
            "none", "none", "none", "none", "none", "declined", "filtered",
        ]))
        .to_owned(),
        tools_offered: tools * 3,
        tool_choice: if tools > 0 { "auto" } else { "none" }.to_owned(),
        tools_called: tools,
        tool_invalid_json: if tools > 0 && dice.once_in(6) { 1 } else { 0 },
        failed_attempts: (0..attempts)
            .map(|nth| FailedAttempt {
                provider: (*dice.pick(&["north", "south"])).to_owned(),
                endpoint: format!("spare-{nth}"),
                region: "us".to_owned(),
                model: model.to_owned(),
                status: *dice.pick(&[429, 500, 0]),
                error_type: "timeout".to_owned(),
                latency_us: dice.below(2_000_000) as i64,
                cost_nanousd: dice.below(5_000) as i64,
            })
            .collect(),
        usage_source: "provider".to_owned(),
        simulated: dice.once_in(4),
        source: "simulated".to_owned(),
        router_id: "r1".to_owned(),
        ..UsageEvent::default()
    }
}

/// The `n`th event of the crash tests.
pub fn event(n: u64) -> UsageEvent {
    event_of("crash", BASE_US, n)
}

/// One record as it is put on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The event of that number.
    Event(u64),
    /// Something that is no event.
    Garbage(u64),
}

/// Numbers that are sent together.
pub const GROUP: u64 = 40;

/// The records of one group: every 10th event is sent twice at once, every 97th again 300 events later,
/// and every 53rd is followed by garbage.
pub fn group(nth: u64) -> Vec<Message> {
    let mut out = Vec::new();
    for n in nth * GROUP..(nth + 1) * GROUP {
        out.push(Message::Event(n));
        if n % 10 == 0 {
            out.push(Message::Event(n));
        }
        if n >= 300 && (n - 300) % 97 == 0 {
            out.push(Message::Event(n - 300));
        }
        if n % 53 == 0 {
            out.push(Message::Garbage(n));
        }
    }
    out
}

/// Bytes that must become a dead letter.
pub fn garbage(writer: &Writer, n: u64) -> Vec<u8> {
    let mut dice = Dice::new(n);
    // Of a stream of its own, so that no event that counts has its id.
    let mut event = event_of("garbage", BASE_US, n);
    match n % 4 {
        0 => dice.bytes(30 + n % 50),
        1 => {
            let bytes = writer.write(&event);
            bytes[..bytes.len() / 2].to_vec()
        }
        2 => {
            let mut bytes = writer.write(&event);
            bytes[5] ^= 0x5A;
            bytes
        }
        _ => {
            event.prompt_tokens = -5;
            writer.write(&event)
        }
    }
}

/// Key and bytes of a record.
pub fn record(writer: &Writer, message: Message) -> ([u8; 16], Vec<u8>) {
    match message {
        Message::Event(n) => {
            let event = event(n);
            (event.event_id.0, writer.write(&event))
        }
        Message::Garbage(n) => (u128::from(n).to_be_bytes(), garbage(writer, n)),
    }
}
