//! Avro's binary encoding of one record, straight from the struct.
//!
//! Avro's datum encoding is a few rules (zigzag varints, length-prefixed bytes, union index first),
//! so writing it by hand costs less than a serialiser that walks the schema for every field.
//! `apache-avro` stands in the tests as the independent reader.

/// A value that knows its Avro datum encoding.
pub trait AvroEncode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

impl AvroEncode for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut rest = ((self << 1) ^ (self >> 63)) as u64;
        while rest >= 0x80 {
            out.push((rest as u8) | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

impl AvroEncode for i32 {
    fn encode(&self, out: &mut Vec<u8>) {
        i64::from(*self).encode(out);
    }
}

impl AvroEncode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl AvroEncode for String {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as i64).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
}

/// Unions in the schema are always `["null", T]`.
impl<T: AvroEncode> AvroEncode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => 0_i64.encode(out),
            Some(value) => {
                1_i64.encode(out);
                value.encode(out);
            }
        }
    }
}

/// One block with its count, then the end mark.
impl<T: AvroEncode> AvroEncode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            (self.len() as i64).encode(out);
            self.iter().for_each(|item| item.encode(out));
        }
        0_i64.encode(out);
    }
}
