//! Recorded traces: what is read, what is refused and how, and that ids follow content.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test fails by panicking"
)]

use flate2::{Compression, write::GzEncoder};
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tidemark_catalog::Catalog;
use tidemark_event::{Micros, UsageEvent};
use tidemark_sim::traces::{Format, ReplayOptions, Trace, TraceError, assigned_notice, open};

const AZURE: &str = "\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
    2023-11-16 18:17:03.9799600,4808,10\r\n\
    2023-11-16 18:17:04.0319600,many,8\r\n\
    \r\n\
    2023-11-16 18:17:04.0319600,3180,8";

fn write(dir: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn trace(path: &Path, format: Format, options: ReplayOptions) -> Result<Trace, TraceError> {
    open(path, format, &Catalog::builtin().unwrap(), options)
}

fn events(path: &Path, format: Format, options: ReplayOptions) -> Vec<UsageEvent> {
    trace(path, format, options)
        .unwrap()
        .filter_map(Result::ok)
        .collect()
}

fn errors(path: &Path, format: Format) -> Vec<String> {
    trace(path, format, ReplayOptions::default())
        .unwrap()
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect()
}

fn ids(events: &[UsageEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| event.event_id.to_string())
        .collect()
}

fn well_assigned(event: &UsageEvent, source: &str) {
    assert_eq!(event.source, source);
    assert!(event.simulated && event.outcome == "ok" && event.finish_reason == "stop");
    assert!(!event.model.is_empty() && !event.provider.is_empty() && !event.endpoint.is_empty());
    assert_eq!(event.account_id.len(), 16);
    let parts = event.cost_prompt_nanousd
        + event.cost_cached_nanousd
        + event.cost_cache_write_nanousd
        + event.cost_completion_nanousd
        + event.cost_request_nanousd;
    assert_eq!(parts, event.cost_nanousd);
    assert!(event.latency_us > 0 && event.cached_tokens <= event.prompt_tokens);
    assert_eq!(event.event_id.unix_millis(), event.ts.0.div_euclid(1000));
}

#[test]
fn azure_rows() {
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "a.csv", AZURE.as_bytes());
    let read = events(&path, Format::Azure, ReplayOptions::default());
    assert_eq!(
        read.iter()
            .map(|event| (event.prompt_tokens, event.completion_tokens))
            .collect::<Vec<_>>(),
        [(4808, 10), (3180, 8)]
    );
    assert_eq!(read[0].ts, Micros(1_700_158_623_979_960));
    read.iter()
        .for_each(|event| well_assigned(event, "replay:azure"));
    assert_eq!(
        errors(&path, Format::Azure),
        ["line 3, field ContextTokens: expected a whole number"]
    );
    assert!(matches!(
        trace(
            &write(&dir, "no.csv", b"a,b,c\n1,2,3\n"),
            Format::Azure,
            ReplayOptions::default()
        ),
        Err(TraceError::NotThisFormat { .. })
    ));
    assert!(matches!(
        trace(
            &dir.path().join("absent"),
            Format::Azure,
            ReplayOptions::default()
        ),
        Err(TraceError::Open { .. })
    ));
}

#[test]
fn ids_follow_content_not_names() {
    let dir = TempDir::new().unwrap();
    let first = events(
        &write(&dir, "a.csv", AZURE.as_bytes()),
        Format::Azure,
        ReplayOptions::default(),
    );
    let packed = events(
        &write(&dir, "b.bin", &gzip(AZURE.as_bytes())),
        Format::Azure,
        ReplayOptions::default(),
    );
    assert_eq!(first, packed);
    let longer = format!("{AZURE}\r\n2023-11-16 18:17:09.0000000,1,1\r\n");
    let other = events(
        &write(&dir, "c.csv", longer.as_bytes()),
        Format::Azure,
        ReplayOptions::default(),
    );
    assert_eq!(
        (first[0].ts, first[0].prompt_tokens),
        (other[0].ts, other[0].prompt_tokens)
    );
    let both: HashSet<_> = ids(&first).into_iter().chain(ids(&other)).collect();
    assert_eq!(both.len(), 5);
}

#[test]
fn limits_and_shifted_times() {
    let dir = TempDir::new().unwrap();
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    (0..30).for_each(|second| {
        text.push_str(&format!(
            "2023-11-16 18:17:{second:02}.0000000,100,{second}\n"
        ))
    });
    let path = write(&dir, "a.csv", text.as_bytes());
    let whole = events(&path, Format::Azure, ReplayOptions::default());
    let few = events(
        &path,
        Format::Azure,
        ReplayOptions {
            max_events: Some(5),
            ..ReplayOptions::default()
        },
    );
    assert_eq!(few, whole[..5]);
    let brief = ReplayOptions {
        duration: Some(Duration::from_secs(9)),
        ..ReplayOptions::default()
    };
    assert_eq!(events(&path, Format::Azure, brief.clone()), whole[..10]);
    let shifted = events(
        &path,
        Format::Azure,
        ReplayOptions {
            shift_to_now: true,
            ..brief
        },
    );
    assert!((Micros::now().0 - shifted[9].ts.0).abs() < 60_000_000);
    assert_eq!(shifted[9].ts.0 - shifted[0].ts.0, 9_000_000);
    for (new, old) in shifted.iter().zip(&whole) {
        well_assigned(new, "replay:azure");
        assert_eq!(new.event_id.0[6..], old.event_id.0[6..]);
        assert_eq!((&new.model, &new.account_id), (&old.model, &old.account_id));
    }
}

#[test]
fn mooncake_blocks_are_cached_prefixes() {
    let dir = TempDir::new().unwrap();
    let text = r#"{"timestamp": 0, "input_length": 1500, "output_length": 5, "hash_ids": [1, 2, 3]}
{"timestamp": 1500, "input_length": 1400, "output_length": 6, "hash_ids": [1, 2, 3]}
{"timestamp": 2000, "input_length": 2000, "output_length": 7, "hash_ids": [1, 9, 3]}
{"timestamp": 3000, "input_length": -4, "output_length": 7, "hash_ids": []}
{"timestamp": "secret"}
"#;
    let path = write(&dir, "m.jsonl", text.as_bytes());
    let read = events(&path, Format::Mooncake, ReplayOptions::default());
    assert_eq!(
        read.iter()
            .map(|event| event.cached_tokens)
            .collect::<Vec<_>>(),
        [0, 1400, 512]
    );
    assert_eq!(read[1].ts.to_string(), "2024-01-01T00:00:01.500000Z");
    read.iter()
        .for_each(|event| well_assigned(event, "replay:mooncake"));
    let errors = errors(&path, Format::Mooncake);
    assert_eq!(errors.len(), 2);
    assert!(
        errors.iter().all(|error| !error.contains("secret")),
        "{errors:?}"
    );
}

#[test]
fn ndjson_keeps_what_is_recorded() {
    let dir = TempDir::new().unwrap();
    let id = "0190f3a1-0000-7000-8000-000000000001";
    let text = format!(
        "{{\"event_id\":\"{id}\",\"ts\":\"2024-07-27T12:00:00Z\",\"model\":\"a/b\",\"source\":\"router\"}}\n\
         {{\"ts\":1722081600000000,\"model\":\"a/b\",\"prompt_tokens\":3}}\n\
         {{\"ts\":1722081600000000,\"prompt_tokens\":\"hunter2\"}}\n\
         {{\"ts\":1722081600000000,\"prompt\":\"hunter2\"}}\n\
         {{\"ts\":\"hunter2\"}}\n\
         hunter2\n\
         {{\"model\":\"hunter2\"}}\n\
         {{\"ts\":1722081600000000,\"model\":\"hunter2\",\"model\":\"hunter2\"}}\n\
         {{\"ts\":1722081600000000,\"model\":\"c/d\"}}\n"
    );
    let path = write(&dir, "e.ndjson", text.as_bytes());
    let read = events(&path, Format::Ndjson, ReplayOptions::default());
    assert_eq!(read.len(), 3);
    assert_eq!(
        (
            read[0].event_id.to_string().as_str(),
            read[0].source.as_str()
        ),
        (id, "router")
    );
    assert_eq!(
        (
            read[1].source.as_str(),
            read[1].simulated,
            read[1].prompt_tokens
        ),
        ("replay:ndjson", false, 3)
    );
    assert_ne!(read[1].event_id, read[2].event_id);
    assert_eq!(
        ids(&read),
        ids(&events(&path, Format::Ndjson, ReplayOptions::default()))
    );
    let errors = errors(&path, Format::Ndjson);
    assert!(
        errors.iter().all(|error| !error.contains("hunter2")),
        "{errors:?}"
    );
    let starts = ["line 3", "line 4", "line 5", "line 6", "line 7", "line 8"];
    assert!(
        errors.len() == 6
            && errors
                .iter()
                .zip(starts)
                .all(|(error, start)| error.starts_with(start)),
        "{errors:?}"
    );
    assert!(
        errors[0].contains("field prompt_tokens") && errors[2].contains("field ts"),
        "{errors:?}"
    );
    // Shifted, a recorded id keeps all but its time.
    let shifted = events(
        &path,
        Format::Ndjson,
        ReplayOptions {
            shift_to_now: true,
            ..ReplayOptions::default()
        },
    );
    assert_eq!(shifted[0].event_id.0[6..], read[0].event_id.0[6..]);
    assert_eq!(shifted[0].event_id.unix_millis(), shifted[0].ts.0 / 1000);
}

#[test]
fn overlong_lines_and_damaged_archives() {
    let dir = TempDir::new().unwrap();
    let mut text = b"{\"ts\":1722081600000000}\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', (10 << 20) + 1));
    text.extend(b"\n{\"ts\":1722081600000001}\n");
    let path = write(&dir, "e.ndjson", &text);
    assert_eq!(
        errors(&path, Format::Ndjson),
        ["line 2: longer than 10 MiB"]
    );
    assert_eq!(
        events(&path, Format::Ndjson, ReplayOptions::default()).len(),
        2
    );
    let packed = gzip(&text);
    let cut = write(&dir, "cut.gz", &packed[..packed.len() / 2]);
    assert!(matches!(
        trace(&cut, Format::Ndjson, ReplayOptions::default()),
        Err(TraceError::Read(_))
    ));
    let empty = write(&dir, "empty", b"");
    assert_eq!(
        events(&empty, Format::Ndjson, ReplayOptions::default()).len(),
        0
    );
}

fn servegen(dir: &Path) {
    fs::write(
        dir.join("chunk-1-trace.csv"),
        "0,0,0,,0,0\n600,2,1.2,Gamma,0.7,0.7\n1200,1,2,Weibull,0.5,0.5\n1800,0,0,,0,0\n",
    )
    .unwrap();
    fs::write(
        dir.join("chunk-1-dataset.json"),
        r#"{"0": {"input_tokens": "{}", "output_tokens": "{}"}, "600": {"input_tokens": "{10: 0.25, 20: 0.75}", "output_tokens": "{3: 1.0}"}}"#,
    )
    .unwrap();
    fs::write(
        dir.join("chunk-2-trace.csv"),
        "0,1,1,Gamma,1,1\n600,1,1,Gamma,1,1\n",
    )
    .unwrap();
}

#[test]
fn servegen_generates_the_described_load() {
    let dir = TempDir::new().unwrap();
    servegen(dir.path());
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("m", dir.path()).unwrap();
    let packed_dir = TempDir::new().unwrap();
    let packed = write(
        &packed_dir,
        "m.tar.gz",
        &gzip(&archive.into_inner().unwrap()),
    );

    let read = events(dir.path(), Format::Servegen, ReplayOptions::default());
    // 1800 from client 1 and 1200 from client 2 are expected.
    assert!((2_700..3_300).contains(&read.len()), "{}", read.len());
    assert!(read.is_sorted_by_key(|event| event.ts));
    assert_eq!(
        read.iter()
            .map(|event| &event.account_id)
            .collect::<HashSet<_>>()
            .len(),
        2
    );
    assert!(
        read.iter()
            .all(|event| [10, 20].contains(&event.prompt_tokens) && event.completion_tokens == 3)
    );
    read.iter()
        .for_each(|event| well_assigned(event, "replay:servegen"));
    assert_eq!(
        ids(&read).into_iter().collect::<HashSet<_>>().len(),
        read.len()
    );
    assert_eq!(
        read,
        events(&packed, Format::Servegen, ReplayOptions::default())
    );

    let limit = |max, scale| ReplayOptions {
        max_events: max,
        rate_scale: scale,
        ..ReplayOptions::default()
    };
    assert_eq!(
        events(&packed, Format::Servegen, limit(Some(40), Some(1.0))),
        read[..40]
    );
    let thin = events(&packed, Format::Servegen, limit(Some(300), None));
    assert!((200..=300).contains(&thin.len()), "{}", thin.len());
    assert!(
        thin[thin.len() - 1].ts.0 - thin[0].ts.0 > 1_300_000_000,
        "thinned, not cut short"
    );
}

#[test]
fn progress_ends_at_the_total() {
    let dir = TempDir::new().unwrap();
    servegen(dir.path());
    let csv = write(&dir, "a.csv", AZURE.as_bytes());
    for (path, format) in [
        (csv.as_path(), Format::Azure),
        (dir.path(), Format::Servegen),
    ] {
        let mut trace = trace(path, format, ReplayOptions::default()).unwrap();
        assert!(trace.total_bytes() > 0);
        trace.by_ref().for_each(drop);
        assert_eq!(trace.bytes_read(), trace.total_bytes());
    }
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>(), Ok(format));
        assert!(!assigned_notice(format).is_empty());
    }
    assert!("csv".parse::<Format>().is_err());
}

/// The real traces, when they lie beside the project.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/traces")
        .join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent", path.display());
    }
    path.exists().then_some(path)
}

fn sums(events: &[UsageEvent]) -> (usize, i64, i64) {
    (
        events.len(),
        events.iter().map(|event| event.prompt_tokens).sum(),
        events.iter().map(|event| event.completion_tokens).sum(),
    )
}

#[test]
fn real_azure_sums() {
    for (name, rows) in [
        ("azure/AzureLLMInferenceTrace_conv.csv", 19_366),
        ("azure/AzureLLMInferenceTrace_code.csv", 8_819),
    ] {
        let Some(path) = shared(name) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        let mut plain = (0, 0, 0);
        for line in text
            .lines()
            .skip(1)
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let mut cells = line
                .split(',')
                .skip(1)
                .map(|cell| cell.parse::<i64>().unwrap());
            plain = (
                plain.0 + 1,
                plain.1 + cells.next().unwrap(),
                plain.2 + cells.next().unwrap(),
            );
        }
        let read = events(&path, Format::Azure, ReplayOptions::default());
        assert_eq!(errors(&path, Format::Azure), [""; 0]);
        assert_eq!((sums(&read), plain.0), (plain, rows));
        assert_eq!(ids(&read).into_iter().collect::<HashSet<_>>().len(), rows);
    }
}

#[test]
fn real_mooncake_sums() {
    let Some(path) = shared("mooncake/conversation_trace.jsonl.gz") else {
        return;
    };
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(&path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let (mut plain, mut cached, mut seen) = ((0, 0, 0), 0, HashSet::new());
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let input = row["input_length"].as_i64().unwrap();
        plain = (
            plain.0 + 1,
            plain.1 + input,
            plain.2 + row["output_length"].as_i64().unwrap(),
        );
        let blocks: Vec<u64> = row["hash_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect();
        let known = blocks
            .iter()
            .position(|id| !seen.contains(id))
            .unwrap_or(blocks.len()) as i64;
        cached += (known * 512).min(input);
        seen.extend(blocks);
    }
    let read = events(&path, Format::Mooncake, ReplayOptions::default());
    assert_eq!((sums(&read), plain.0), (plain, 12_031));
    assert_eq!(
        read.iter().map(|event| event.cached_tokens).sum::<i64>(),
        cached
    );
    assert_eq!(errors(&path, Format::Mooncake), [""; 0]);
}

#[test]
fn real_servegen_fits_its_limit() {
    let Some(path) = shared("servegen/m-small.tar.gz") else {
        return;
    };
    let options = ReplayOptions {
        max_events: Some(20_000),
        ..ReplayOptions::default()
    };
    let read = events(&path, Format::Servegen, options);
    assert!((18_000..=20_000).contains(&read.len()), "{}", read.len());
    let days = (read[read.len() - 1].ts.0 - read[0].ts.0) as f64 / 86_400e6;
    assert!((12.0..14.1).contains(&days), "{days} days");
    let mut accounts: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    read.iter()
        .for_each(|event| *accounts.entry(&event.account_id).or_default() += 1);
    let top = *accounts.values().max().unwrap() as f64 / read.len() as f64;
    assert!((0.13..0.52).contains(&top), "the top client holds {top}");
}
