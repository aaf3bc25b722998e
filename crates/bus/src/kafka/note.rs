//! What is said of a record that cannot be counted: headers, and nothing of its content.

/// A record set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Why, in the words of the lake's dead letters.
    pub reason: String,
    /// Topic it came from, or `spool`.
    pub source: String,
    /// Partition there.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// Its size.
    pub bytes: usize,
    /// Fingerprint of the schema that it names, as 16 hexadecimal digits; empty if it names none.
    pub schema: String,
}
