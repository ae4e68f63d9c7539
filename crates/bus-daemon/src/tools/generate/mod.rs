//! `generate`: as many bytes as asked for, the same ones for the same seed.
//!
//! For trying things out: a result of any size, compressible or not, that never sits in memory.

use std::io;

use async_trait::async_trait;
use bus_model::{ContentType, ToolName};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
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

/// Makes the content on a blocking thread, two chunks ahead of its reader at most. The thread ends
/// when the reader is dropped.
fn in_background(mut content: Content) -> impl tokio::io::AsyncRead + Send + Unpin {
    let (chunks, mut made) = mpsc::channel::<Bytes>(2);
    tokio::task::spawn_blocking(move || {
        while let Some(chunk) = content.next_chunk(CHUNK) {
            if chunks.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    StreamReader::new(stream::poll_fn(move |context| {
        made.poll_recv(context)
            .map(|chunk| chunk.map(Ok::<_, io::Error>))
    }))
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

    #[tokio::test]
    async fn a_reader_that_is_dropped_ends_the_making() {
        let mut reader = in_background(Content::new(Kind::Random, u64::MAX, 0));
        let mut some = [0; 100];
        reader.read_exact(&mut some).await.unwrap();
        drop(reader);
        // The runtime of this test waits for its blocking threads, so this returns only then.
    }
}
