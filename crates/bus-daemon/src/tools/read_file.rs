//! `read_file`: the content of a file under the daemon's root.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bus_model::{ContentType, ToolName};
use rustix::fs::{Mode, OFlags, open, openat};
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
    // Why a path leads nowhere may be about what lies outside the root, and is not told.
    let resolved = root.join(path).canonicalize().map_err(|_| missing())?;
    let below = resolved.strip_prefix(root).map_err(|_| missing())?;
    let file = open_without_links(root, below)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(missing())
    }
}

/// Walks from `root` to `below`, a path that was resolved, and opens what is there.
///
/// What lies at a checked path may be swapped before it is opened. Each step starts at the folder
/// that the one before has opened, so a link that was put anywhere on the way is not followed, and
/// a pipe that was put at its end does not block.
fn open_without_links(root: &Path, below: &Path) -> io::Result<File> {
    let name = below.file_name().ok_or_else(missing)?;
    let through = THROUGH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = open(root, through, Mode::empty())?;
    for step in below.parent().into_iter().flat_map(Path::components) {
        folder = openat(&folder, step.as_os_str(), through, Mode::empty())?;
    }
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(&folder, name, read, Mode::empty())?.into())
}

/// How a folder is opened to go through it, which takes no right to list it.
#[cfg(target_os = "linux")]
const THROUGH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const THROUGH: OFlags = OFlags::RDONLY;

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_folder_that_becomes_a_link_after_the_check_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        let below = Path::new("a/b/notes.txt");
        for place in [&root, &outside] {
            fs::create_dir_all(place.join("a/b")).unwrap();
            fs::write(place.join(below), "notes").unwrap();
        }
        assert!(open_without_links(&root, below).is_ok());
        // What a check has found is swapped before it is opened, at every step of the way.
        for step in ["a/b/notes.txt", "a/b", "a"] {
            fs::rename(root.join(step), root.join("aside")).unwrap();
            symlink(outside.join(step), root.join(step)).unwrap();
            assert!(fs::read(root.join(below)).is_ok(), "the link leads outside");
            assert!(open_without_links(&root, below).is_err(), "{step}");
            fs::remove_file(root.join(step)).unwrap();
            fs::rename(root.join("aside"), root.join(step)).unwrap();
        }
    }

    #[test]
    fn the_root_itself_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_without_links(folder.path(), Path::new("")).is_err());
    }
}
