//! `generate`: as many bytes as asked for, the same ones for the same seed.
//!
//! For trying things out: a result of any size, compressible or not, that never sits in memory.

use std::io;

use async_trait::async_trait;
use bus_model::{ContentType, ToolName};
use futures::stream::try_unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::{io::AsyncRead, task::spawn_blocking};
use tokio_util::io::StreamReader;

use super::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec};

mod content;

pub use content::{Content, Kind};

/// Bytes made in one step.
const CHUNK: usize = 256 << 10;

/// Makes payloads.
#[derive(Debug)]
pub struct Generate(ToolSpec);

#[derive(Debug, Deserialize)]
struct Arguments {
    bytes: u64,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    seed: u64,
}

impl Generate {
    /// The tool.
    #[must_use]
    pub fn new() -> Self {
        let schema = json!({
            "type": "object",
            "properties": {
                "bytes": {
                    "type": "integer", "minimum": 1,
                    "description": "Exact size of the result in bytes"
                },
                "kind": {
                    "enum": ["json", "text", "random"],
                    "description": "What to make: records as JSON (the default), lines of words, \
                                    or bytes that do not compress"
                },
                "seed": {
                    "type": "integer", "minimum": 0,
                    "description": "The same seed makes the same bytes; 0 by default"
                }
            },
            "required": ["bytes"],
            "additionalProperties": false
        });
        let name = ToolName::new("generate").expect("a legal name");
        let description = "Makes a result of exactly the size asked for";
        Self(ToolSpec::new(name, description, schema))
    }
}

impl Default for Generate {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Tool for Generate {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, context: ToolContext) -> Result<ToolOutput, ToolError> {
        let Arguments { bytes, kind, seed } =
            serde_json::from_value(context.arguments).map_err(|error| {
                ToolError::new("bytes, kind or seed is not legal").with_source(error)
            })?;
        let content_type = match kind {
            Kind::Json => ContentType::json(),
            Kind::Text => ContentType::text(),
            Kind::Random => ContentType::octets(),
        };
        let reader = in_background(Content::new(kind, bytes, seed));
        Ok(ToolOutput::sized_stream(content_type, reader, bytes))
    }
}

/// Makes the content on blocking threads, a chunk when its reader asks for one, so that no thread
/// waits for a slow reader.
fn in_background(content: Content) -> impl AsyncRead + Send + Unpin {
    StreamReader::new(Box::pin(try_unfold(content, |mut content| async move {
        let made = spawn_blocking(move || {
            let chunk = content.next_chunk(CHUNK)?;
            Some((chunk, content))
        });
        made.await.map_err(io::Error::other)
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_stream_is_the_content() {
        let bytes = 3 * CHUNK + 17;
        let mut reader = in_background(Content::new(Kind::Json, bytes as u64, 7));
        let mut streamed = Vec::new();
        reader.read_to_end(&mut streamed).await.unwrap();
        assert_eq!(streamed.len(), bytes);
        let records: Vec<Value> = serde_json::from_slice(&streamed).unwrap();
        assert!(records.len() > 1000);
    }
}
