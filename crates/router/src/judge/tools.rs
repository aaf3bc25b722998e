//! Tool calls against what was offered.
//!
//! Schemas are compiled when they are first offered and kept by their hash: the same tools come with every request of an
//! agent. Without a `$schema`, a schema is one of draft 7, as other routers read it.

use crate::ask::BadRequest;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use xxhash_rust::xxh64::xxh64;

/// Tools of one request, at most.
const TOOLS: usize = 512;
/// Bytes of one schema, and its depth, at most.
const SCHEMA_BYTES: usize = 256 << 10;
const SCHEMA_DEPTH: usize = 64;
/// Tool lists kept compiled.
const KEPT: usize = 1024;
/// Arguments of one answer, bytes, and calls, at most; what is beyond counts as not JSON.
const ARGUMENT_BYTES: usize = 1 << 20;
const CALLS: usize = 1024;
/// Steps a pattern may go back, so that none takes for ever.
const BACKTRACK: usize = 10_000;

/// What the client said about calling tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// No tools, or not to be called.
    #[default]
    None,
    /// The model may.
    Auto,
    /// The model must call one.
    Required,
    /// The model must call this one.
    Named(String),
}

/// The tools of one request. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    tools: Arc<Tools>,
    choice: ToolChoice,
}

#[derive(Debug, Default)]
struct Tools {
    count: usize,
    /// A tool without parameters takes any.
    by_name: HashMap<String, Option<Validator>>,
    /// Tools that the provider runs were offered too: their names are not known here.
    foreign: bool,
}

/// Compiled lists by two hashes of their text.
type Compiled = HashMap<(u64, u64), Arc<Tools>>;

static KNOWN: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

impl Offered {
    /// Reads `tools` and `tool_choice` of a chat request (`{"type": "function", "function": {name, description, parameters, strict}}`).
    ///
    /// # Errors
    /// [`BadRequest`] that names the field where a tool has no name, a name twice, or a schema that is not one.
    pub fn read(tools: Option<&Value>, choice: Option<&Value>) -> Result<Self, BadRequest> {
        let tools = match tools {
            None | Some(Value::Null) => Arc::default(),
            Some(Value::Array(list)) if list.len() > TOOLS => {
                return Err(BadRequest::field(
                    "tools",
                    format!("`tools` has more than {TOOLS} entries"),
                ));
            }
            Some(Value::Array(list)) => compiled(list)?,
            Some(_) => {
                return Err(BadRequest::field(
                    "tools",
                    "`tools` is a list of tools, each {\"type\": \"function\", \"function\": {\"name\": ...}}",
                ));
            }
        };
        let choice = read_choice(choice, &tools)?;
        Ok(Self { tools, choice })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.tools.count
    }

    /// What the client said about calling them.
    pub fn choice(&self) -> ToolChoice {
        self.choice.clone()
    }

    /// A judge for one answer.
    pub fn judge(&self) -> ToolJudge {
        ToolJudge {
            tools: Arc::clone(&self.tools),
            calls: Vec::new(),
            bytes: 0,
            beyond: 0,
        }
    }
}

fn read_choice(choice: Option<&Value>, tools: &Tools) -> Result<ToolChoice, BadRequest> {
    let wrong = |message: &str| Err(BadRequest::field("tool_choice", message));
    match choice {
        None | Some(Value::Null) if tools.count == 0 => Ok(ToolChoice::None),
        None | Some(Value::Null) => Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" if tools.count == 0 => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" | "any" if tools.count > 0 => Ok(ToolChoice::Required),
            "required" | "any" => wrong("`tool_choice` asks for a call, but `tools` offers none"),
            _ => wrong(
                "`tool_choice` is none, auto, required, or {\"type\": \"function\", \"function\": {\"name\": ...}}",
            ),
        },
        Some(Value::Object(named)) => {
            let name = named
                .get("function")
                .and_then(|function| function.get("name"))
                .or_else(|| named.get("name"))
                .and_then(Value::as_str);
            match name {
                Some(name) if tools.by_name.contains_key(name) => {
                    Ok(ToolChoice::Named(name.to_owned()))
                }
                Some(_) => wrong("`tool_choice` names a tool that `tools` does not offer"),
                // A choice among allowed tools, or a tool of the provider.
                None if tools.count > 0 => Ok(ToolChoice::Required),
                None => wrong("`tool_choice` asks for a call, but `tools` offers none"),
            }
        }
        Some(_) => wrong(
            "`tool_choice` is none, auto, required, or {\"type\": \"function\", \"function\": {\"name\": ...}}",
        ),
    }
}

fn compiled(list: &[Value]) -> Result<Arc<Tools>, BadRequest> {
    let text = serde_json::to_vec(list)
        .map_err(|_| BadRequest::field("tools", "`tools` cannot be read"))?;
    let key = (xxh64(&text, 0), xxh64(&text, 0x71de));
    if let Some(known) = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&key)
    {
        return Ok(Arc::clone(known));
    }
    let tools = Arc::new(compile(list)?);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(key, Arc::clone(&tools));
    Ok(tools)
}

fn compile(list: &[Value]) -> Result<Tools, BadRequest> {
    let mut tools = Tools {
        count: list.len(),
        ..Tools::default()
    };
    for (n, tool) in list.iter().enumerate() {
        let Value::Object(tool) = tool else {
            return Err(BadRequest::field(
                format!("tools[{n}]"),
                "a tool is an object such as {\"type\": \"function\", \"function\": {\"name\": ...}}",
            ));
        };
        let Some(function) = tool.get("function") else {
            if tool
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind != "function")
            {
                tools.foreign = true;
                continue;
            }
            return Err(BadRequest::field(
                format!("tools[{n}].function"),
                "a tool of type `function` has a `function` with its `name` and `parameters`",
            ));
        };
        let at = |field: &str| format!("tools[{n}].function.{field}");
        let name = match function.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() && name.len() <= 128 => name.to_owned(),
            _ => {
                return Err(BadRequest::field(
                    at("name"),
                    "a tool has a `name` of at most 128 characters",
                ));
            }
        };
        let validator = match function.get("parameters") {
            None | Some(Value::Null) => None,
            Some(schema @ Value::Object(_)) => Some(
                validator(schema)
                    .map_err(|message| BadRequest::field(at("parameters"), message))?,
            ),
            Some(_) => {
                return Err(BadRequest::field(
                    at("parameters"),
                    "`parameters` is a JSON Schema: an object",
                ));
            }
        };
        if tools.by_name.insert(name, validator).is_some() {
            return Err(BadRequest::field(
                at("name"),
                "another tool of this request has the same name",
            ));
        }
    }
    Ok(tools)
}

/// A compiled schema, or what is wrong with it.
fn validator(schema: &Value) -> Result<Validator, &'static str> {
    if depth(schema, 0) > SCHEMA_DEPTH
        || serde_json::to_vec(schema).is_ok_and(|text| text.len() > SCHEMA_BYTES)
    {
        return Err("the schema is too large or nested too deeply to be checked");
    }
    if leads_outside(schema) {
        return Err("a `$ref` leads out of the schema: put what it names into `$defs`");
    }
    let options = jsonschema::options()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK));
    let options = if schema.get("$schema").is_some_and(Value::is_string) {
        options
    } else {
        options.with_draft(Draft::Draft7)
    };
    options
        .build(schema)
        .map_err(|_| "this is not a valid JSON Schema (draft 7, unless `$schema` names another)")
}

fn depth(value: &Value, above: usize) -> usize {
    if above > SCHEMA_DEPTH {
        return above;
    }
    match value {
        Value::Object(map) => map
            .values()
            .map(|value| depth(value, above + 1))
            .max()
            .unwrap_or(above),
        Value::Array(list) => list
            .iter()
            .map(|value| depth(value, above + 1))
            .max()
            .unwrap_or(above),
        _ => above,
    }
}

/// Whether a reference names another document: nothing is ever fetched. The drafts' own schemas are built in.
fn leads_outside(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            let outside = |name: &str| {
                map.get(name)
                    .and_then(Value::as_str)
                    .is_some_and(|to| to.contains("://") && !to.contains("json-schema.org"))
            };
            let id = map
                .get("$id")
                .and_then(Value::as_str)
                .is_some_and(|id| id.contains("://"));
            !id && (outside("$ref") || outside("$dynamicRef") || map.values().any(leads_outside))
        }
        Value::Array(list) => list.iter().any(leads_outside),
        _ => false,
    }
}

/// What one answer's tool calls were like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolCounts {
    /// All calls.
    pub called: u32,
    /// Arguments that are not JSON.
    pub invalid_json: u32,
    /// Names that were not offered.
    pub unknown_name: u32,
    /// Arguments that fail the offered schema.
    pub schema_mismatch: u32,
}

/// Collects the tool calls of one answer.
#[derive(Debug)]
pub struct ToolJudge {
    tools: Arc<Tools>,
    calls: Vec<Call>,
    bytes: usize,
    /// Calls not kept.
    beyond: u32,
}

#[derive(Debug)]
struct Call {
    index: u32,
    name: String,
    arguments: String,
    cut: bool,
}

impl ToolJudge {
    /// Takes in one part of a call; the fields are those of [`crate::piece::Piece::ToolCall`].
    pub fn part(&mut self, index: u32, name: Option<&str>, arguments: &str) {
        // A name begins a call, also where an index is used again.
        let same = self
            .calls
            .iter()
            .rposition(|call| call.index == index)
            .filter(|at| name.is_none_or(|_| self.calls[*at].name.is_empty()));
        let at = match same {
            Some(at) => at,
            None if self.calls.len() >= CALLS => {
                self.beyond += u32::from(name.is_some());
                return;
            }
            None => {
                self.calls.push(Call {
                    index,
                    name: String::new(),
                    arguments: String::new(),
                    cut: false,
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if let Some(name) = name {
            name.clone_into(&mut call.name);
        }
        self.bytes += arguments.len();
        if self.bytes > ARGUMENT_BYTES {
            call.cut = true;
        } else {
            call.arguments.push_str(arguments);
        }
    }

    /// The counts.
    pub fn finish(self) -> ToolCounts {
        let mut counts = ToolCounts {
            called: self.beyond,
            invalid_json: self.beyond,
            ..ToolCounts::default()
        };
        for call in &self.calls {
            counts.called += 1;
            match self.verdict(call) {
                Verdict::Right => {}
                Verdict::InvalidJson => counts.invalid_json += 1,
                Verdict::UnknownName => counts.unknown_name += 1,
                Verdict::Mismatch => counts.schema_mismatch += 1,
            }
        }
        counts
    }

    /// One verdict a call: a call that is wrong in two ways is counted in the first.
    fn verdict(&self, call: &Call) -> Verdict {
        let text = call.arguments.trim();
        let parsed = if text.is_empty() {
            Ok(Value::Object(serde_json::Map::new()))
        } else {
            serde_json::from_str::<Value>(text)
        };
        let Some(arguments) = parsed.ok().filter(|_| !call.cut) else {
            return Verdict::InvalidJson;
        };
        match self.tools.by_name.get(&call.name) {
            None if self.tools.foreign => Verdict::Right,
            None => Verdict::UnknownName,
            Some(Some(validator)) if !validator.is_valid(&arguments) => Verdict::Mismatch,
            Some(None) if !arguments.is_object() => Verdict::Mismatch,
            Some(_) => Verdict::Right,
        }
    }
}

enum Verdict {
    Right,
    InvalidJson,
    UnknownName,
    Mismatch,
}

#[cfg(test)]
mod tests;
