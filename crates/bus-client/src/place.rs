//! Where a file that is going to be replaced really is.

use std::{
    fs::Permissions,
    io,
    path::{Path, PathBuf},
};

/// More links than any system follows.
const MAX_LINKS: u8 = 40;

/// The place of a file: what a rename may replace.
#[derive(Debug)]
pub struct Place {
    /// Its path, with every link followed.
    pub path: PathBuf,
    /// The rights of the file that is there; `None` where none is.
    pub rights: Option<Permissions>,
}

/// Follows the links of `path`, of which a rename would replace the first. Its last may lead to a
/// file that is not there yet.
///
/// # Errors
/// Where its folder is missing, or what is there is no regular file.
pub fn find(path: &Path) -> io::Result<Place> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let name = path
            .file_name()
            .ok_or_else(|| refused("it names no file"))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize()?,
            _ => Path::new(".").canonicalize()?,
        };
        // Links there lead to whatever a process has open, such as its own stdout.
        if folder == Path::new("/dev") || folder.starts_with("/proc") {
            return Err(not_regular());
        }
        let here = folder.join(name);
        match here.symlink_metadata() {
            Ok(found) if found.is_symlink() => path = folder.join(here.read_link()?),
            Ok(found) if found.is_file() => return Ok(place(here, Some(found.permissions()))),
            Ok(_) => return Err(not_regular()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(place(here, None)),
            Err(error) => return Err(error),
        }
    }
    Err(refused("it is a link to itself"))
}

fn place(path: PathBuf, rights: Option<Permissions>) -> Place {
    Place { path, rights }
}

fn not_regular() -> io::Error {
    refused("it is not a regular file")
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
