//! However a stream is cut, its events are the same, those that a second reader finds; and a small limit keeps the memory small.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use tidemark_fuzz::dice::Dice;
use tidemark_fuzz::lines;
use tidemark_router::sse::{Event, Parser};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What the parser may hold beside an event of the limit's size, for every byte of it and on top.
const TIMES: usize = 8;
const MORE: usize = 8 << 10;

/// The events of a stream that comes in these parts, and whether it could be read to its end.
fn read(parts: &[&[u8]], limit: usize) -> (Vec<Event>, bool) {
    let (mut parser, mut out) = (Parser::new(limit), Vec::new());
    let fine = parts.iter().all(|part| parser.push(part, &mut out).is_ok())
        && parser.finish(&mut out).is_ok();
    (out, fine)
}

/// Most memory that reading a stream in small parts takes, when its events are let go at once.
fn most(data: &[u8], limit: usize) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let (mut parser, mut out) = (Parser::new(limit), Vec::new());
    for part in data.chunks(64) {
        if parser.push(part, &mut out).is_err() {
            break;
        }
        out.clear();
    }
    MEMORY.peak_usage().saturating_sub(before)
}

fuzz_target!(|data: &[u8]| {
    let mut dice = Dice::of(data);
    let whole = read(&[data], usize::MAX);
    let plain: Vec<(String, Vec<u8>)> = whole
        .0
        .iter()
        .map(|event| (event.name.clone(), event.data.to_vec()))
        .collect();
    assert!(whole.1 && plain == lines::events(data));
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    for limit in [usize::MAX, 1 << 16, 16 << dice.below(8)] {
        let whole = read(&[data], limit);
        assert!(read(&bytes, limit) == whole);
        assert!(read(&dice.cut(data), limit) == whole);
        assert!(
            whole
                .0
                .iter()
                .all(|event| event.data.len() <= limit && event.name.len() / 3 <= limit)
        );
        if limit < usize::MAX {
            let held = most(data, limit);
            assert!(held <= limit * TIMES + MORE, "{held} bytes held of {limit}");
        }
    }
});
