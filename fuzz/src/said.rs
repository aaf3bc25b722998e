//! What an answer says, straight from its pieces: what every client must be able to read of it, however it is written.

use serde_json::{Map, Value};
use tidemark_router::piece::Piece;

/// One tool call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The text of its arguments.
    pub arguments: String,
}

impl Call {
    /// The arguments as the messages API has them: an object, empty where they are none.
    pub fn input(&self) -> Map<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }
}

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Text for the reader.
    pub text: String,
    /// Thinking.
    pub thought: String,
    /// Its proofs, one after the other.
    pub signature: String,
    /// Words of an official refusal.
    pub declined: String,
    /// Tool calls, in the order of their beginnings.
    pub calls: Vec<Call>,
    /// Why it ended; empty while nobody has said.
    pub finish: String,
}

impl Said {
    /// Takes in pieces, and holds them to what [`Piece`] promises.
    pub fn take_in(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Text(more) => self.text.push_str(more),
                Piece::Declined(more) => self.declined.push_str(more),
                Piece::Reasoning { text, signature } => {
                    self.thought.push_str(text);
                    self.signature
                        .push_str(signature.as_deref().unwrap_or_default());
                }
                Piece::ToolCall {
                    index,
                    id,
                    name,
                    arguments,
                } => {
                    let index = *index as usize;
                    if index == self.calls.len() {
                        assert!(
                            id.is_some() && name.is_some(),
                            "the first part of a call carries id and name"
                        );
                        self.calls.push(Call {
                            id: id.clone().unwrap_or_default(),
                            name: name.clone().unwrap_or_default(),
                            arguments: arguments.clone(),
                        });
                    } else {
                        assert!(
                            index < self.calls.len() && id.is_none() && name.is_none(),
                            "calls begin in the order of their indices, and once"
                        );
                        self.calls[index].arguments.push_str(arguments);
                    }
                }
                Piece::Finish { reason, .. } => reason.as_str().clone_into(&mut self.finish),
                Piece::Usage(u) => {
                    // An event whose parts exceed their whole would be turned away.
                    assert!(u.cached + u.cache_write <= u.prompt && u.reasoning <= u.completion);
                    assert!(u.image_prompt + u.audio_prompt + u.video_prompt <= u.prompt);
                    assert!(u.image_completion + u.audio_completion <= u.completion);
                }
                Piece::Start { .. } | Piece::Failed(_) => {}
            }
        }
    }
}
