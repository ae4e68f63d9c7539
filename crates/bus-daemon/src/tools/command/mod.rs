//! Command tools: programs of the operator's choice, described in a TOML file.
//!
//! ```toml
//! [[tool]]
//! name = "count_lines"
//! description = "Counts the lines of its input"
//! argv = ["wc", "-l"]
//! timeout_secs = 10                    # the daemon's call timeout by default
//! provider = "coreutils"               # unknown by default
//! content_type = "text/plain"          # application/octet-stream by default
//! input_schema = { type = "object" }   # any object by default
//! ```
//!
//! The arguments are JSON on the program's standard input, its standard output is the payload.
//! Nothing of it reaches anybody unless the program exits with 0; otherwise the caller gets the
//! end of its standard error. No shell is involved.

use std::sync::Arc;

use async_trait::async_trait;
use bus_model::ContentType;

use super::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec};

mod file;
mod process;

pub use file::{ToolsFileError, load};

/// A program that is run for every call.
#[derive(Debug)]
pub struct CommandTool {
    spec: ToolSpec,
    /// Never empty.
    argv: Vec<String>,
    content_type: ContentType,
}

impl CommandTool {
    fn shared(self) -> Arc<dyn Tool> {
        Arc::new(self)
    }
}

#[async_trait]
impl Tool for CommandTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, context: ToolContext) -> Result<ToolOutput, ToolError> {
        let input = context.arguments.to_string();
        let running = process::start(self.spec.name.clone(), &self.argv, input)?;
        Ok(ToolOutput::stream(
            self.content_type.clone(),
            running.into_reader(),
        ))
    }
}
