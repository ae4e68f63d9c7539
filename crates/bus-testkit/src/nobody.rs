//! Running a program as a user without rights, for what root cannot see: a read-only folder, a file it may not open.

use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The user and group that own nothing, on every Debian and Ubuntu.
const NOBODY: u32 = 65_534;

/// A command that runs as `nobody`; keep it until the process has ended.
#[derive(Debug)]
pub struct Nobody {
    /// The command to run. Set its standard streams here: those of the original cannot be read back.
    pub command: Command,
    _copy: Option<TempDir>,
}

/// The same program, arguments, variables and folder, run by an unprivileged user.
///
/// Run as root it goes through `setpriv`; anybody else is already unprivileged. A program that `nobody` could not reach
/// (a checkout under a private folder) is copied to a place that it can.
///
/// # Errors
/// Where the program cannot be copied.
pub fn run_as_nobody(command: &Command) -> Result<Nobody> {
    if !running_as_root()? {
        return Ok(Nobody {
            command: same(command, command.get_program()),
            _copy: None,
        });
    }
    let (program, copy) = reachable(Path::new(command.get_program()))?;
    let mut wrapped = Command::new("setpriv");
    wrapped
        .arg(format!("--reuid={NOBODY}"))
        .arg(format!("--regid={NOBODY}"))
        .args(["--clear-groups", "--"])
        .arg(&program);
    Ok(Nobody {
        command: carry_over(command, wrapped),
        _copy: copy,
    })
}

pub(crate) fn running_as_root() -> Result<bool> {
    let own = fs::metadata("/proc/self").context("reading the owner of this process")?;
    Ok(own.uid() == 0)
}

fn same(command: &Command, program: &std::ffi::OsStr) -> Command {
    carry_over(command, Command::new(program))
}

fn carry_over(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
    to
}

fn reachable(program: &Path) -> Result<(PathBuf, Option<TempDir>)> {
    let by_name = program.components().count() == 1;
    if by_name || program.ancestors().all(anybody_may_enter) {
        return Ok((program.to_path_buf(), None));
    }
    let folder = TempDir::new().context("making a folder for a copy of the program")?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let copy = folder.path().join("program");
    fs::copy(program, &copy)
        .with_context(|| format!("copying {} for an unprivileged user", program.display()))?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
    Ok((copy, Some(folder)))
}

/// Whether a user without rights may pass through this folder.
pub(crate) fn anybody_may_enter(path: &Path) -> bool {
    path.as_os_str().is_empty()
        || fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_cannot_write_into_a_folder_of_root() {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        let mut touch = Command::new("touch");
        touch.arg(folder.path().join("file"));
        let status = run_as_nobody(&touch).unwrap().command.status().unwrap();
        assert!(!status.success());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_program_in_a_private_folder_still_runs() {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let program = folder.path().join("id");
        fs::copy("/usr/bin/id", &program).unwrap();
        let mut id = Command::new(&program);
        id.arg("-u");
        let output = run_as_nobody(&id).unwrap().command.output().unwrap();
        let uid = String::from_utf8(output.stdout).unwrap();
        assert_ne!(uid.trim(), "0");
        assert!(output.status.success());
    }
}
