//! Runs the real program in a private folder with a clean environment.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, with a store in it.
pub(crate) struct Place {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::with_prefix("bus-test-").unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file and gives its name.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path().join(name), bytes).unwrap();
        name.to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    /// The program in this folder, its store in `store`, nothing else in its environment.
    pub(crate) fn bus<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bus"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("BUS_STORE_DIR", self.store())
            .current_dir(self.path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        finish(&mut self.bus(args))
    }

    /// The same, with `stdin`.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Ran {
        feed(&mut self.bus(args), stdin)
    }

    /// Stores bytes and gives their transaction id.
    pub(crate) fn put(&self, bytes: &[u8]) -> String {
        self.run_with_input(["put"], bytes).ok().line()
    }

    /// Every record, whatever its status.
    pub(crate) fn records(&self) -> Vec<Value> {
        let listed = self
            .run(["ls", "--all", "--status", "all", "--json"])
            .ok()
            .json();
        listed["messages"].as_array().unwrap().clone()
    }

    /// The body files of the store.
    pub(crate) fn bodies(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.store().join("bodies"), &mut files);
        files.sort();
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Panics unless it exited 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.shown());
        self
    }

    /// Panics unless it exited with `code` and said `message` on stderr, and nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, message: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.shown());
        assert!(
            self.stderr.contains(message),
            "{message:?} is missing\n{}",
            self.shown()
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{}", self.shown()))
    }

    /// The last error as `--json` reports it.
    #[track_caller]
    pub(crate) fn json_error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}\n{}", self.shown()))
            ["error"]
            .take()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Stdout without its last line end.
    pub(crate) fn line(&self) -> String {
        self.text().trim_end().to_owned()
    }

    pub(crate) fn shown(&self) -> String {
        let stdout: String = String::from_utf8_lossy(&self.stdout)
            .chars()
            .take(2000)
            .collect();
        format!(
            "code {:?}\nstdout: {stdout}\nstderr: {}",
            self.code, self.stderr
        )
    }
}

pub(crate) fn finish(command: &mut Command) -> Ran {
    Ran::of(command.output().unwrap())
}

pub(crate) fn feed(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let ran = thread::scope(|scope| {
        // A program that refuses early closes the pipe; that is for the test to judge.
        scope.spawn(move || pipe.write_all(stdin));
        child.wait_with_output().unwrap()
    });
    Ran::of(ran)
}

/// A daemon that runs until it is dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    /// Starts `bus serve` on a free port of `place`.
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        Self::spawn(
            place
                .bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"])
                .args(args),
        )
    }

    /// Starts a command that is `bus serve --json`, and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("bus serve did not start ({error}): {line:?}"));
        Self {
            child,
            url: ready["url"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator would; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        signal("-TERM", self.pid());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "kill {name} {pid}");
}
