//! The event's Rust shape. Field order is the wire order of `schemas/usage_event.avsc`; a test proves it.

use crate::encode::AvroEncode;
use crate::{EventId, Micros};
use serde::{Deserialize, Serialize};

/// Declares a record once: the struct, its JSON names and its Avro encoding, in field order.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }

        impl AvroEncode for $name {
            fn encode(&self, out: &mut Vec<u8>) { $(self.$field.encode(out);)* }
        }

        impl $name {
            /// Field names in wire order.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

record! {
    #[derive(Default)]
    /// An upstream try that failed before the one that answered.
    pub struct FailedAttempt {
        /// Provider slug.
        pub provider: String,
        /// Endpoint id.
        pub endpoint: String,
        /// Region.
        pub region: String,
        /// Model tried.
        pub model: String,
        /// HTTP status, 0 when none came.
        pub status: i32,
        /// Class of the error.
        pub error_type: String,
        /// Until it failed. Microseconds.
        pub latency_us: i64,
        /// What the provider still billed, nano-dollars.
        pub cost_nanousd: i64,
    }
}

record! {
    /// One client request, whatever became of it.
    pub struct UsageEvent {
        /// UUIDv7, big endian. Its embedded time lies within one hour of ts. The identity for de-duplication.
        pub event_id: EventId,
        /// When the request arrived at the router, UTC.
        pub ts: Micros,
        /// The client's or router's request id. OTel: `gen_ai.response.id`.
        pub request_id: String,
        /// Conversation the request belongs to, empty if unknown. OTel: `gen_ai.conversation.id`.
        pub session_id: String,
        /// Keyed hash of the account, never the account itself.
        pub account_id: String,
        /// Calling application, by its public slug; empty if not attributed.
        pub app: String,
        /// chat, messages, embeddings. OTel: `gen_ai.operation.name`.
        pub operation: String,
        /// The client asked for a stream. OTel: `gen_ai.request.stream`.
        pub streamed: bool,
        /// As the client named it, variant included. OTel: `gen_ai.request.model`.
        pub model_requested: String,
        /// author/slug that served. OTel: `gen_ai.response.model`.
        pub model: String,
        /// free, nitro, floor or empty. Only free ranks separately.
        pub variant: String,
        /// Provider slug, empty if none was reached. OTel: `gen_ai.provider.name`.
        pub provider: String,
        /// Endpoint id: provider/model@region or finer.
        pub endpoint: String,
        /// Region of the endpoint.
        pub region: String,
        /// int4, fp8, bf16, ... or unknown.
        pub quantization: String,
        /// All input tokens, cached ones included. OTel: `gen_ai.usage.input_tokens`.
        pub prompt_tokens: i64,
        /// Part of prompt_tokens read from a cache. OTel: `gen_ai.usage.cache_read.input_tokens`.
        pub cached_tokens: i64,
        /// Part of prompt_tokens written to a cache. OTel: `gen_ai.usage.cache_write.input_tokens`.
        pub cache_write_tokens: i64,
        /// All output tokens, reasoning included. OTel: `gen_ai.usage.output_tokens`.
        pub completion_tokens: i64,
        /// Part of completion_tokens spent thinking. OTel: `gen_ai.usage.reasoning.output_tokens`.
        pub reasoning_tokens: i64,
        /// Part of prompt_tokens that came from images.
        pub image_prompt_tokens: i64,
        /// Part of prompt_tokens that came from audio.
        pub audio_prompt_tokens: i64,
        /// Part of prompt_tokens that came from video.
        pub video_prompt_tokens: i64,
        /// Part of completion_tokens that are images.
        pub image_completion_tokens: i64,
        /// Part of completion_tokens that are audio.
        pub audio_completion_tokens: i64,
        /// Total cost, nano-dollars: the sum of the components.
        pub cost_nanousd: i64,
        /// Uncached prompt tokens, nano-dollars.
        pub cost_prompt_nanousd: i64,
        /// Cached reads, nano-dollars.
        pub cost_cached_nanousd: i64,
        /// Cache writes, nano-dollars.
        pub cost_cache_write_nanousd: i64,
        /// Completion tokens, nano-dollars.
        pub cost_completion_nanousd: i64,
        /// Per-request fee, nano-dollars.
        pub cost_request_nanousd: i64,
        /// Images, searches and what else is billed, nano-dollars.
        pub cost_other_nanousd: i64,
        /// Upstream request sent to first content or tool-call delta; null when nothing came. OTel: `gen_ai.response.time_to_first_chunk`. Microseconds.
        pub ttft_us: Option<i64>,
        /// Request arrived to answer complete. Microseconds.
        pub latency_us: i64,
        /// First delta to end; null unless streamed. Microseconds.
        pub generation_us: Option<i64>,
        /// Time the router itself added. Microseconds.
        pub overhead_us: i64,
        /// ok, error, cancelled or rejected (refused at the door, no provider reached).
        pub outcome: String,
        /// HTTP status given to the client.
        pub status: i32,
        /// Class of the error, empty when none. OTel: `error.type`.
        pub error_type: String,
        /// tool_calls, stop, length, content_filter, error or empty. OTel: `gen_ai.response.finish_reasons`.
        pub finish_reason: String,
        /// As the provider said it.
        pub native_finish_reason: String,
        /// none, filtered (provider's filter), declined (the API says so), declined_text (recognised in the text).
        pub refusal: String,
        /// Tools in the request.
        pub tools_offered: i32,
        /// none, auto, required or named.
        pub tool_choice: String,
        /// Tool calls in the answer.
        pub tools_called: i32,
        /// Calls whose arguments are not JSON.
        pub tool_invalid_json: i32,
        /// Calls of a tool that was not offered.
        pub tool_unknown_name: i32,
        /// Calls whose arguments fail the offered JSON Schema.
        pub tool_schema_mismatch: i32,
        /// Finished by length.
        pub truncated: bool,
        /// Rejected because the prompt did not fit.
        pub context_overflow: bool,
        /// The client left before the end.
        pub cancelled: bool,
        /// Upstream tries before the last one, in order.
        pub failed_attempts: Vec<FailedAttempt>,
        /// What for, from opted-in samples only; empty if unknown.
        pub category: String,
        /// provider or estimated.
        pub usage_source: String,
        /// Simulated or replayed with assigned models: shown as such wherever it counts.
        pub simulated: bool,
        /// Where the event comes from: router, ingest, `replay:<format>`, simulated.
        pub source: String,
        /// Which router wrote it.
        pub router_id: String,
        /// Its version.
        pub router_version: String,
        /// How it was routed: what the order went by, lanes, and how many each limit excluded; empty if it was not.
        pub route: String,
    }
}

impl Default for UsageEvent {
    /// The defaults of the schema file; the id is nil and must be set.
    fn default() -> Self {
        Self {
            event_id: EventId::default(),
            ts: Micros(0),
            request_id: String::new(),
            session_id: String::new(),
            account_id: String::new(),
            app: String::new(),
            operation: "chat".to_owned(),
            streamed: false,
            model_requested: String::new(),
            model: String::new(),
            variant: String::new(),
            provider: String::new(),
            endpoint: String::new(),
            region: String::new(),
            quantization: "unknown".to_owned(),
            prompt_tokens: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            completion_tokens: 0,
            reasoning_tokens: 0,
            image_prompt_tokens: 0,
            audio_prompt_tokens: 0,
            video_prompt_tokens: 0,
            image_completion_tokens: 0,
            audio_completion_tokens: 0,
            cost_nanousd: 0,
            cost_prompt_nanousd: 0,
            cost_cached_nanousd: 0,
            cost_cache_write_nanousd: 0,
            cost_completion_nanousd: 0,
            cost_request_nanousd: 0,
            cost_other_nanousd: 0,
            ttft_us: None,
            latency_us: 0,
            generation_us: None,
            overhead_us: 0,
            outcome: "ok".to_owned(),
            status: 200,
            error_type: String::new(),
            finish_reason: String::new(),
            native_finish_reason: String::new(),
            refusal: "none".to_owned(),
            tools_offered: 0,
            tool_choice: "none".to_owned(),
            tools_called: 0,
            tool_invalid_json: 0,
            tool_unknown_name: 0,
            tool_schema_mismatch: 0,
            truncated: false,
            context_overflow: false,
            cancelled: false,
            failed_attempts: Vec::new(),
            category: String::new(),
            usage_source: "provider".to_owned(),
            simulated: false,
            source: "router".to_owned(),
            router_id: String::new(),
            router_version: String::new(),
            route: String::new(),
        }
    }
}
