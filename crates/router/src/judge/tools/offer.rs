//! Reading `tools` and `tool_choice` of a request.

use super::ToolChoice;
use super::cache::{self, Cache};
use super::schema::{NotASchema, Schema};
use crate::ask::BadRequest;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Tools of one request.
const MOST: usize = 512;
/// Characters of a name. Providers allow fewer; theirs to say.
const NAME: usize = 128;

/// Tools of all requests.
static OFFERS: Cache<Arc<Tools>> = Cache::new(2_048, 32 << 20);

/// How calls of one name are checked.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// By JSON and, where there is one, a schema.
    Arguments(Option<Schema>),
    /// Not: what comes is not JSON, or is the provider's affair.
    Nothing,
}

/// Tools of one request, by name.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) count: usize,
    pub(super) names: HashMap<String, Check>,
}

/// Reads tools, or finds them read.
pub(super) fn read_cached(tools: &Value) -> Result<Arc<Tools>, BadRequest> {
    let key = cache::key(tools);
    if let Some(known) = key.as_ref().and_then(|(key, _)| OFFERS.get(key)) {
        return Ok(known);
    }
    let new = Arc::new(read(tools)?);
    if let Some((key, length)) = key {
        OFFERS.put(key, Arc::clone(&new), length);
    }
    Ok(new)
}

fn read(tools: &Value) -> Result<Tools, BadRequest> {
    let Value::Array(items) = tools else {
        return Err(BadRequest::field("tools", "`tools` must be an array."));
    };
    if items.len() > MOST {
        return Err(BadRequest::field(
            "tools",
            format!("`tools` must hold at most {MOST} tools."),
        ));
    }
    let mut names = HashMap::with_capacity(items.len());
    for (place, tool) in items.iter().enumerate() {
        read_tool(&format!("tools[{place}]"), tool, &mut names)?;
    }
    Ok(Tools {
        count: items.len(),
        names,
    })
}

fn read_tool(
    path: &str,
    tool: &Value,
    names: &mut HashMap<String, Check>,
) -> Result<(), BadRequest> {
    let Value::Object(tool) = tool else {
        return Err(wrong(path, "must be an object"));
    };
    let kind_path = format!("{path}.type");
    let kind = match tool.get("type") {
        Some(Value::String(kind)) if !kind.is_empty() => kind.as_str(),
        None => return Err(wrong(&kind_path, "is missing; it should be `function`")),
        Some(_) => return Err(wrong(&kind_path, "must be a string such as `function`")),
    };
    let (name_path, name, check) = match kind {
        "function" => {
            let path = format!("{path}.function");
            let function = object(tool, "function", &path)?;
            (
                format!("{path}.name"),
                name(function, &path)?,
                Check::Arguments(read_function(function, &path)?),
            )
        }
        "custom" if tool.get("custom").is_some() => {
            let path = format!("{path}.custom");
            let custom = object(tool, "custom", &path)?;
            (format!("{path}.name"), name(custom, &path)?, Check::Nothing)
        }
        // A tool of the provider's. It may be listed twice, and calls of it come under the name of its type.
        other => {
            names.entry(other.to_owned()).or_insert(Check::Nothing);
            return Ok(());
        }
    };
    if names.insert(name.to_owned(), check).is_some() {
        return Err(wrong(
            &name_path,
            "is the name of an earlier tool; names must differ",
        ));
    }
    Ok(())
}

fn read_function(function: &Map<String, Value>, path: &str) -> Result<Option<Schema>, BadRequest> {
    if !matches!(
        function.get("description"),
        None | Some(Value::Null | Value::String(_))
    ) {
        return Err(wrong(&format!("{path}.description"), "must be a string"));
    }
    if !matches!(
        function.get("strict"),
        None | Some(Value::Null | Value::Bool(_))
    ) {
        return Err(wrong(&format!("{path}.strict"), "must be true or false"));
    }
    let schema = match function.get("parameters") {
        None | Some(Value::Null) => return Ok(None),
        Some(schema @ Value::Object(_)) => schema,
        Some(_) => {
            return Err(wrong(
                &format!("{path}.parameters"),
                "must be a JSON Schema object",
            ));
        }
    };
    Schema::of(schema).map(Some).map_err(|why| {
        let message = match why {
            NotASchema::Invalid => "is not a valid JSON Schema",
            NotASchema::Reference => "refers to a schema that is not in it; nothing is fetched, so `$ref` must stay inside",
        };
        wrong(&format!("{path}.parameters"), message)
    })
}

fn object<'a>(
    of: &'a Map<String, Value>,
    field: &str,
    path: &str,
) -> Result<&'a Map<String, Value>, BadRequest> {
    match of.get(field) {
        Some(Value::Object(fields)) => Ok(fields),
        None => Err(wrong(path, "is missing")),
        Some(_) => Err(wrong(path, "must be an object")),
    }
}

fn name<'a>(of: &'a Map<String, Value>, path: &str) -> Result<&'a str, BadRequest> {
    let path = format!("{path}.name");
    let name = match of.get("name") {
        Some(Value::String(name)) => name.as_str(),
        None => return Err(wrong(&path, "is missing")),
        Some(_) => return Err(wrong(&path, "must be a string")),
    };
    let fits = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    if name.is_empty() || name.len() > NAME || !fits {
        return Err(wrong(
            &path,
            "must be 1 to 128 of the characters a-z, A-Z, 0-9, `_`, `-`, `.` and `:`",
        ));
    }
    Ok(name)
}

fn wrong(path: &str, what: &str) -> BadRequest {
    BadRequest::field(path, format!("`{path}` {what}."))
}

/// Reads `tool_choice`.
pub(super) fn read_choice(choice: Option<&Value>, tools: &Tools) -> Result<ToolChoice, BadRequest> {
    const PATH: &str = "tool_choice";
    let needs_tools = |choice| {
        if tools.count > 0 {
            Ok(choice)
        } else {
            Err(wrong(PATH, "wants a call, but there are no `tools`"))
        }
    };
    let may = if tools.count > 0 {
        ToolChoice::Auto
    } else {
        ToolChoice::None
    };
    let fields = match choice {
        None | Some(Value::Null) => return Ok(may),
        Some(Value::String(word)) => {
            return match word.as_str() {
                "none" => Ok(ToolChoice::None),
                "auto" => Ok(may),
                "required" => needs_tools(ToolChoice::Required),
                _ => Err(wrong(
                    PATH,
                    "must be `none`, `auto`, `required` or an object that names a tool",
                )),
            };
        }
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(wrong(PATH, "must be a string or an object")),
    };
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        None => {
            return Err(wrong(
                "tool_choice.type",
                "is missing; it should be `function`",
            ));
        }
        Some(_) => return Err(wrong("tool_choice.type", "must be a string")),
    };
    match kind {
        "function" | "custom" => {
            let path = format!("{PATH}.{kind}");
            let named = name(object(fields, kind, &path)?, &path)?;
            if !tools.names.contains_key(named) {
                return Err(wrong(
                    &format!("{path}.name"),
                    "is not the name of one of `tools`",
                ));
            }
            Ok(ToolChoice::Named(named.to_owned()))
        }
        "allowed_tools" => {
            let path = format!("{PATH}.allowed_tools");
            match object(fields, "allowed_tools", &path)?
                .get("mode")
                .and_then(Value::as_str)
            {
                Some("auto") => Ok(may),
                Some("required") => needs_tools(ToolChoice::Required),
                _ => Err(wrong(
                    &format!("{path}.mode"),
                    "must be `auto` or `required`",
                )),
            }
        }
        // A tool of the provider's, named by its type.
        other if tools.names.contains_key(other) => Ok(ToolChoice::Named(other.to_owned())),
        _ => Err(wrong(
            "tool_choice.type",
            "must be `function` or the type of one of `tools`",
        )),
    }
}
