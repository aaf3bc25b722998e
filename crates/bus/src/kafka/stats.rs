//! What a forwarder counts.

/// What a forwarder has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Records that the brokers have stored.
    pub delivered: u64,
    /// Records that could not be read from the spool any more.
    pub damaged: u64,
    /// Records that the brokers never take.
    pub refused: u64,
    /// Records in the spool that are not delivered.
    pub waiting: u64,
    /// Producers made after one failed.
    pub rebuilt: u64,
}
