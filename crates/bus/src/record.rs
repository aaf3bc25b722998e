//! Framing: how one record lies in a segment. Pure functions, no files.
//!
//! ```text
//! magic u32 | offset u64 | appended_at_us i64 | len u32 | payload crc32c | header crc32c | payload
//! ```
//!
//! All little-endian. The header has its own checksum so that a length can be trusted before it is
//! used: a flipped bit in a payload costs that payload, and a flipped bit in a header costs that
//! record, because the reader then looks for the next header instead of following a wrong length.

use std::io::Read as _;

/// First four bytes of every record. Not ASCII, so that text payloads do not contain it.
pub(crate) const MAGIC: [u8; 4] = [0xF7, 0x1D, 0xE4, 0xA1];

/// Bytes before the payload.
pub(crate) const HEADER: usize = 32;

/// Everything about a record but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) offset: u64,
    pub(crate) appended_at_us: i64,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
}

impl Header {
    /// Bytes of the whole record.
    pub(crate) fn frame_len(&self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..12].copy_from_slice(&self.offset.to_le_bytes());
        out[12..20].copy_from_slice(&self.appended_at_us.to_le_bytes());
        out[20..24].copy_from_slice(&self.len.to_le_bytes());
        out[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, if there is an intact one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let raw = bytes.first_chunk::<HEADER>()?;
        if raw[..4] != MAGIC || crc32c::crc32c(&raw[..28]).to_le_bytes() != raw[28..] {
            return None;
        }
        let mut rest = &raw[4..28];
        Some(Self {
            offset: u64::from_le_bytes(take(&mut rest)?),
            appended_at_us: i64::from_le_bytes(take(&mut rest)?),
            len: u32::from_le_bytes(take(&mut rest)?),
            payload_crc: u32::from_le_bytes(take(&mut rest)?),
        })
    }

    /// The header at the start of `bytes` if flipping at most one bit makes it intact.
    ///
    /// Only used on the last bytes of a journal, to tell a damaged record that was acknowledged
    /// from the rest of a write that a crash interrupted: the checksum differs for every single
    /// flipped bit of a header this short, so the answer is unambiguous.
    pub(crate) fn decode_mended(bytes: &[u8]) -> Option<Self> {
        let mut raw = *bytes.first_chunk::<HEADER>()?;
        (0..HEADER * 8).find_map(|bit| {
            raw[bit / 8] ^= 1 << (bit % 8);
            let header = Self::decode(&raw);
            raw[bit / 8] ^= 1 << (bit % 8);
            header
        })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    from.read_exact(&mut out).ok()?;
    Some(out)
}

/// Appends one framed record to `buffer`. The caller keeps payloads below 4 GiB.
pub(crate) fn push(buffer: &mut Vec<u8>, offset: u64, appended_at_us: i64, payload: &[u8]) {
    let header = Header {
        offset,
        appended_at_us,
        len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload_crc: crc32c::crc32c(payload),
    };
    buffer.extend_from_slice(&header.encode());
    buffer.extend_from_slice(payload);
}

/// Where the next header may start in `bytes`, at or after `from`.
pub(crate) fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.windows(MAGIC.len())
        .position(|window| window == MAGIC)
        .map(|at| from + at)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail loudly"
)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut buffer = Vec::new();
        push(&mut buffer, 7, 1_700_000_000_000_000, b"hello");
        buffer
    }

    #[test]
    fn a_frame_decodes_to_what_was_pushed() {
        let frame = frame();
        let header = Header::decode(&frame).unwrap();
        assert_eq!((header.offset, header.len), (7, 5));
        assert_eq!(header.appended_at_us, 1_700_000_000_000_000);
        assert_eq!(header.payload_crc, crc32c::crc32c(&frame[HEADER..]));
        assert_eq!(header.frame_len(), frame.len() as u64);
    }

    #[test]
    fn every_flipped_header_bit_is_seen_and_can_be_named() {
        let frame = frame();
        let intact = Header::decode(&frame);
        for bit in 0..HEADER * 8 {
            let mut hurt = frame.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&hurt), None, "bit {bit}");
            assert_eq!(Header::decode_mended(&hurt), intact, "bit {bit}");
        }
        assert_eq!(Header::decode_mended(&[0; HEADER]), None);
        assert_eq!(Header::decode_mended(b"short"), None);
    }

    #[test]
    fn magic_is_found_from_a_position_on() {
        let mut two = frame();
        let second = two.len();
        push(&mut two, 8, 0, b"");
        assert_eq!(find_magic(&two, 0), Some(0));
        assert_eq!(find_magic(&two, 1), Some(second));
        assert_eq!(find_magic(&two, second + 1), None);
        assert_eq!(find_magic(&two, 10_000), None);
    }
}
