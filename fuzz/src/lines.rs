//! A second reader of server-sent events: the whole text at once, line by line, with none of the router's code.

/// Name and data of every event. The one that the end cuts short of its empty line counts, too.
pub fn events(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        if *byte == b'\r' {
            bytes.next_if(|next| **next == b'\n');
            plain.push(b'\n');
        } else {
            plain.push(*byte);
        }
    }
    let (mut out, mut name, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = plain.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"event" => value.clone_into(&mut name),
            _ => {}
        }
        if line.is_empty() || lines.peek().is_none() {
            let name = String::from_utf8_lossy(&std::mem::take(&mut name)).into_owned();
            if data.pop().is_some() {
                out.push((name, std::mem::take(&mut data)));
            }
        }
    }
    out
}
