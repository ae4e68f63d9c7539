//! `echo`: says back what it is told.

use async_trait::async_trait;
use bus_model::ToolName;
use serde_json::{Value, json};

use super::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec};

/// Returns its `text` argument as one output.
#[derive(Debug)]
pub struct Echo(ToolSpec);

impl Echo {
    /// The tool.
    #[must_use]
    pub fn new() -> Self {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to say back"}
            },
            "required": ["text"],
            "additionalProperties": false
        });
        let name = ToolName::new("echo").expect("a legal name");
        Self(ToolSpec::new(
            name,
            "Says back the text it is given",
            schema,
        ))
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Tool for Echo {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, mut context: ToolContext) -> Result<ToolOutput, ToolError> {
        match context.arguments["text"].take() {
            Value::String(text) => Ok(ToolOutput::text(text)),
            _ => Err(ToolError::new("text is missing: give it as a string")),
        }
    }
}
