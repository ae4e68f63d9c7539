//! The TOML file of command tools.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bus_model::{ContentType, ProviderName, ToolName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CommandTool, Tool, ToolSpec};
use crate::tools::registry::compile;

/// The whole file. Unknown keys are refused: most are typing errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolsFile {
    #[serde(default)]
    tool: Vec<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: ToolName,
    #[serde(default)]
    description: String,
    #[serde(default)]
    provider: ProviderName,
    #[serde(default = "any_object")]
    input_schema: Value,
    argv: Vec<String>,
    timeout_secs: Option<f64>,
    #[serde(default)]
    content_type: ContentType,
}

fn any_object() -> Value {
    json!({"type": "object"})
}

/// Why a tools file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsFileError {
    /// It cannot be read.
    #[error("the tools file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or holds something else than `[[tool]]`.
    #[error("the tools file {} is not a list of [[tool]]: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A tool in it cannot be used.
    #[error("tool {tool} in the tools file {}: {problem}", path.display())]
    Tool {
        /// The file.
        path: PathBuf,
        /// The tool's name, or its place in the file where it has none.
        tool: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads the tools in the file at `path`. Blocks, for a small file.
///
/// # Errors
/// [`ToolsFileError`] naming the file, the tool and the problem.
pub fn load(path: &Path) -> Result<Vec<Arc<dyn Tool>>, ToolsFileError> {
    let text = fs::read_to_string(path).map_err(|source| ToolsFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Arc<dyn Tool>>, ToolsFileError> {
    let file: ToolsFile = toml::from_str(text).map_err(|error| ToolsFileError::Syntax {
        path: path.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
    })?;
    let tools = file.tool.into_iter().zip(1..).map(|(table, place)| {
        let named = table.get("name").and_then(toml::Value::as_str);
        let tool = named.map_or_else(|| format!("number {place}"), |name| format!("{name:?}"));
        let made = check(table).map(CommandTool::shared);
        made.map_err(|problem| ToolsFileError::Tool {
            path: path.to_owned(),
            tool,
            problem,
        })
    });
    tools.collect()
}

fn check(table: toml::Table) -> Result<CommandTool, String> {
    let entry: Entry = table
        .try_into()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    if entry.argv.first().is_none_or(String::is_empty) {
        return Err("argv is empty: name a program, then its arguments".to_owned());
    }
    if let Some(bad) = entry.argv.iter().find(|argument| argument.contains('\0')) {
        return Err(format!("the argument {bad:?} of argv holds a zero byte"));
    }
    let timeout = entry.timeout_secs.map(seconds).transpose()?;
    compile(&entry.name, &entry.input_schema).map_err(|error| error.to_string())?;
    let spec = ToolSpec {
        provider: entry.provider,
        timeout,
        ..ToolSpec::new(entry.name, entry.description, entry.input_schema)
    };
    Ok(CommandTool {
        spec,
        argv: entry.argv,
        content_type: entry.content_type,
    })
}

fn seconds(number: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number)
        .ok()
        .filter(|time| !time.is_zero() && time.as_secs() <= 86_400)
        .ok_or_else(|| {
            format!("timeout_secs is {number}: more than 0 and at most 86400 is allowed")
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Arc<dyn Tool>>, ToolsFileError> {
        parse(Path::new("tools.toml"), text)
    }

    #[test]
    fn a_whole_tool() {
        let tools = parsed(
            r#"
            [[tool]]
            name = "count"
            description = "Counts"
            provider = "coreutils"
            argv = ["wc", "-l"]
            timeout_secs = 1.5
            content_type = "text/plain"
            input_schema = { type = "object", required = ["n"] }

            [[tool]]
            name = "least"
            argv = ["true"]
            "#,
        )
        .unwrap();
        let spec = tools[0].spec();
        assert_eq!(spec.name.as_str(), "count");
        assert_eq!(spec.provider.as_str(), "coreutils");
        assert_eq!(spec.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(
            spec.input_schema,
            json!({"type": "object", "required": ["n"]})
        );
        assert_eq!(tools[1].spec().provider.as_str(), "unknown");
        assert_eq!(tools[1].spec().timeout, None);
    }

    #[rstest]
    #[case("tool = 5", "is not a list of [[tool]]")]
    #[case("[[tools]]\nname = 'a'", "unknown field `tools`")]
    #[case(
        "[[tool]]\nargv = ['a']",
        "tool number 1 in the tools file tools.toml: missing field `name`"
    )]
    #[case(
        "[[tool]]\nname = 'a'",
        "tool \"a\" in the tools file tools.toml: missing field `argv`"
    )]
    #[case("[[tool]]\nname = 'a'\nargv = []", "argv is empty")]
    #[case("[[tool]]\nname = 'a'\nargv = ['']", "argv is empty")]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\nshell = true",
        "unknown field `shell`"
    )]
    #[case("[[tool]]\nname = ''\nargv = ['b']", "tool name \"\" is not legal")]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\ntimeout_secs = 0",
        "timeout_secs is 0"
    )]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\ntimeout_secs = -1",
        "timeout_secs is -1"
    )]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\ncontent_type = 'x'",
        "content type \"x\" is not legal"
    )]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\ninput_schema = 7",
        "must be a JSON object"
    )]
    #[case(
        "[[tool]]\nname = 'a'\nargv = ['b']\ninput_schema = {type = 'thing'}",
        "input schema of tool a"
    )]
    fn a_bad_file_is_named_with_tool_and_problem(#[case] text: &str, #[case] expected: &str) {
        let error = parsed(text).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("tools.toml"), "{error}");
    }
}
