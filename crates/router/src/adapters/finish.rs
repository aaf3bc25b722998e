//! The end of an answer, said once: some providers repeat it in every event, others with the counts.

use crate::piece::{FinishReason, Piece};

/// Why the answer ended, as far as it has been said.
#[derive(Debug, Default)]
pub(super) struct Finish(Option<(FinishReason, String)>);

impl Finish {
    /// Whether any reason has been given.
    pub(super) fn is_said(&self) -> bool {
        self.0.is_some()
    }

    /// Appends the reason unless it is the one given last. A stop after tool calls (`called`) is a wish to have them made.
    pub(super) fn say(
        &mut self,
        reason: FinishReason,
        native: &str,
        called: bool,
        out: &mut Vec<Piece>,
    ) {
        let reason = if reason == FinishReason::Stop && called {
            FinishReason::ToolCalls
        } else {
            reason
        };
        if self
            .0
            .as_ref()
            .is_some_and(|(before, said)| *before == reason && said == native)
        {
            return;
        }
        self.0 = Some((reason, native.to_owned()));
        out.push(Piece::Finish {
            reason,
            native: native.to_owned(),
        });
    }
}
