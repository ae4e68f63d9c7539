//! The files that the demo sends: made of a seed, packed of the sources of bus, or the caller's.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bus_model::{Digest, Hasher};

/// Small enough for one frame. Here as everywhere, 1 KB is 1,024 bytes.
const SMALL: u64 = 500 << 10;
/// Too big for one frame.
const MEDIUM: u64 = 5 << 20;
/// Below 1 MiB as bytes, beyond it as JSON.
const QUOTED: u64 = 900 << 10;

/// A file of the stage, and what its bytes are.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Its name under the daemon's root.
    pub(super) name: String,
    /// What people call it.
    pub(super) title: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// SHA-256 of its bytes.
    pub(super) digest: Digest,
}

/// All files of the stage.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) small: Sample,
    pub(super) medium: Sample,
    pub(super) quoted: Sample,
    pub(super) big: Sample,
    pub(super) input: Sample,
}

impl Files {
    /// Writes them to `folder`, in constant memory. Blocking.
    pub(super) fn write(folder: &Path, input: Option<&Path>, big_mb: u32) -> anyhow::Result<Self> {
        let json = |name: &str, bytes| make(folder, name, |out| write_json(out, bytes));
        Ok(Self {
            small: json("small.json", SMALL)?,
            medium: json("medium.json", MEDIUM)?,
            quoted: make(folder, "quotes.csv", |out| write_quoted(out, QUOTED))?,
            big: json("big.json", u64::from(big_mb) << 20)?,
            input: match (input, workspace()) {
                (Some(path), _) => copy(folder, path)?,
                (None, Some(root)) => pack(folder, &root)?,
                (None, None) => {
                    let made = json("input.json", MEDIUM + 12_345)?;
                    Sample {
                        title: "a generated file".to_owned(),
                        ..made
                    }
                }
            },
        })
    }
}

/// SHA-256 and size of a file, in constant memory. Blocking.
pub(super) fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut block = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&block[..read]);
        size += read as u64;
    }
}

fn make(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<Sample> {
    let path = folder.join(name);
    let mut out = BufWriter::new(File::create(&path)?);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    sample(folder, name, name)
}

fn sample(folder: &Path, name: &str, title: &str) -> anyhow::Result<Sample> {
    let (digest, size) = digest_of(&folder.join(name))?;
    Ok(Sample {
        name: name.to_owned(),
        title: title.to_owned(),
        size,
        digest,
    })
}

fn copy(folder: &Path, path: &Path) -> anyhow::Result<Sample> {
    let shown = path.display();
    anyhow::ensure!(!path.is_dir(), "{shown} is a folder: name a file");
    std::fs::copy(path, folder.join("input")).with_context(|| format!("{shown} cannot be read"))?;
    let title = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    sample(folder, "input", &title.unwrap_or_else(|| shown.to_string()))
}

/// Packs the sources of the workspace at `root`, file by file.
fn pack(folder: &Path, root: &Path) -> anyhow::Result<Sample> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let path = folder.join("sources.tar");
    let mut archive = tar::Builder::new(BufWriter::new(File::create(path)?));
    for file in &files {
        let name = file.strip_prefix(root)?;
        archive
            .append_path_with_name(file, name)
            .with_context(|| format!("{} cannot be packed", file.display()))?;
    }
    archive
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    sample(
        folder,
        "sources.tar",
        &format!("the sources of bus ({} files, packed)", files.len()),
    )
}

/// Regular files below `folder`, without what is built or hidden.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if name.to_string_lossy().starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The workspace of bus: around this folder, else where this program was built.
fn workspace() -> Option<PathBuf> {
    let is_root = |folder: &&Path| folder.join("crates/bus-cli/Cargo.toml").is_file();
    let here = std::env::current_dir().ok();
    let above = here
        .as_deref()
        .and_then(|here| here.ancestors().find(is_root));
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(is_root);
    above.or(built).map(Path::to_owned)
}

/// Exactly `bytes` bytes of JSON: log lines with numbers and ids, as tools return them.
fn write_json(out: &mut dyn Write, bytes: u64) -> io::Result<()> {
    const WORDS: [&str; 8] = [
        "claim", "payload", "chunk", "manifest", "lease", "digest", "session", "größe",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes;
    let mut next = move || {
        // SplitMix64: the same bytes every time, and not too easy to compress.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    out.write_all(b"[")?;
    let mut left = bytes - 2;
    loop {
        let (id, number) = (next(), next());
        let (verb, noun) = (WORDS[(id % 8) as usize], WORDS[(number % 8) as usize]);
        let line = format!(
            "{{\"id\":\"{id:016x}\",\"ms\":{},\"level\":\"INFO\",\"text\":\"the {verb} of a {noun} was checked\"}},\n",
            number % 10_000
        );
        if line.len() as u64 > left.saturating_sub(2) {
            break;
        }
        out.write_all(line.as_bytes())?;
        left -= line.len() as u64;
    }
    out.write_all(b"\"")?;
    io::copy(&mut io::repeat(b'.').take(left - 2), out)?;
    out.write_all(b"\"]")
}

/// Exactly `bytes` bytes that are mostly quotes and line ends.
fn write_quoted(out: &mut dyn Write, bytes: u64) -> io::Result<()> {
    let lines = (0_u64..).flat_map(|n| format!("\"{}\",\"{}\"\n", n % 10, n % 7).into_bytes());
    let taken = usize::try_from(bytes).unwrap_or(usize::MAX);
    let block: Vec<u8> = lines.take(taken).collect();
    out.write_all(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_files_have_the_size_asked_for_and_are_json() {
        for bytes in [2_000, 500_000, 1 << 20] {
            let mut out = Vec::new();
            write_json(&mut out, bytes).unwrap();
            assert_eq!(out.len() as u64, bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
        }
    }

    #[test]
    fn the_quoted_file_is_below_a_mebibyte_and_its_frame_is_not() {
        let mut out = Vec::new();
        write_quoted(&mut out, QUOTED).unwrap();
        assert_eq!(out.len() as u64, QUOTED);
        let text = String::from_utf8(out).unwrap();
        assert!(serde_json::to_string(&text).unwrap().len() > 1 << 20);
    }
}
