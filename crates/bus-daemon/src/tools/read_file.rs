//! `read_file`: the content of a file under the daemon's root.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bus_model::{ContentType, ToolName};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec};

/// Streams a regular file that lies under one folder, whatever links lead there.
#[derive(Debug)]
pub struct ReadFile {
    spec: ToolSpec,
    /// Without links in it, so that a resolved path can be compared with it.
    root: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    path: String,
}

impl ReadFile {
    /// The tool for the files under `root`.
    ///
    /// # Errors
    /// Where `root` is no folder that can be opened.
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let schema = json!({
            "type": "object",
            "properties": {
                "path": {
                    "type": "string", "minLength": 1,
                    "description": "Path of the file, relative to the root"
                }
            },
            "required": ["path"],
            "additionalProperties": false
        });
        let name = ToolName::new("read_file").expect("a legal name");
        let description = "Reads a file under the daemon's root";
        Ok(Self {
            spec: ToolSpec::new(name, description, schema),
            root,
        })
    }
}

#[async_trait]
impl Tool for ReadFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, context: ToolContext) -> Result<ToolOutput, ToolError> {
        let Arguments { path } = serde_json::from_value(context.arguments)
            .map_err(|error| ToolError::new("path is not legal").with_source(error))?;
        let root = self.root.clone();
        let asked = path.clone();
        let opened = tokio::task::spawn_blocking(move || open_beneath(&root, &asked))
            .await
            .map_err(|error| ToolError::new("the file could not be opened").with_source(error))?;
        let (file, bytes) = opened.map_err(|error| refused(&path, &error))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(512 << 10);
        // A file that grows meanwhile ends where it ended when it was opened.
        Ok(ToolOutput::sized_stream(
            content_type(&path),
            file.take(bytes),
            bytes,
        ))
    }
}

/// Opens the regular file at `path` under `root` and tells its size.
fn open_beneath(root: &Path, path: &str) -> io::Result<(File, u64)> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let resolved = root.join(path).canonicalize()?;
    if !resolved.starts_with(root) || !resolved.metadata()?.is_file() {
        return Err(missing());
    }
    // What lies at a checked path may be swapped before it is opened. A link put there is not
    // followed, and a pipe put there does not block.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits())
        .expect("open flags fit the system's own type");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&resolved)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || root.join(path).canonicalize()? != resolved {
        return Err(missing());
    }
    Ok((file, metadata.len()))
}

/// The same words for a file that is missing and for one outside the root, so that nobody learns
/// what lies outside.
fn refused(path: &str, error: &io::Error) -> ToolError {
    let path: String = path.chars().take(300).collect();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ToolError::new(format!("{path:?} may not be read by the daemon"))
        }
        _ => ToolError::new(format!("there is no regular file {path:?} under the root")),
    }
}

fn content_type(path: &str) -> ContentType {
    let extension = Path::new(path).extension().and_then(|e| e.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => ContentType::json(),
        Some("txt" | "md" | "log" | "csv" | "toml" | "yaml" | "yml" | "rs" | "py" | "js") => {
            ContentType::text()
        }
        _ => ContentType::octets(),
    }
}
