//! A program that runs for one call, with everything it starts in one process group.
//!
//! Whoever drops it (a timeout, a cancelled call, a client that is gone) kills the whole group, so
//! that no grandchild is left behind. The group is killed only while its first process has not been
//! waited for: its number cannot belong to anybody else until then.

use std::{
    collections::VecDeque,
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use bus_model::ToolName;
use bytes::{Bytes, BytesMut};
use futures::stream::try_unfold;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tokio_util::{io::StreamReader, task::AbortOnDropHandle};

use crate::tools::ToolError;

/// Bytes of standard error that a failed call shows.
const TAIL: usize = 4 << 10;
/// How long the rest of standard error is waited for after the program has ended: something that
/// it left running may hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Variables of the daemon that are nobody else's business.
const SECRETS: [&str; 7] = [
    "BUS_SUPABASE_TOKEN",
    "BUS_TOKEN",
    "BUS_TOKENS_FILE",
    "BUS_CLAIM_KEYS",
    "SUPABASE_DB_URL",
    "SUPABASE_KEY",
    "SUPABASE_URL",
];

/// A program that was started.
#[derive(Debug)]
pub(super) struct Running {
    tool: ToolName,
    child: Child,
    stdout: ChildStdout,
    stderr: AbortOnDropHandle<()>,
    tail: Arc<Mutex<VecDeque<u8>>>,
    /// Ends the writing with the rest; what it says is of no interest.
    _stdin: AbortOnDropHandle<()>,
}

/// Starts a program in a process group of its own and hands it `input`.
pub(super) fn start(tool: ToolName, argv: &[String], input: String) -> Result<Running, ToolError> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| ToolError::new(format!("{tool} names no program")))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for secret in SECRETS {
        command.env_remove(secret);
    }
    let mut child = command.spawn().map_err(|error| {
        let message = format!("{tool} could not be started: is {program:?} installed?");
        ToolError::new(message).with_source(error)
    })?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(ToolError::new(format!("{tool} was started without pipes")));
    };
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    Ok(Running {
        tool,
        child,
        stdout,
        stderr: AbortOnDropHandle::new(tokio::spawn(keep_tail(stderr, Arc::clone(&tail)))),
        tail,
        _stdin: AbortOnDropHandle::new(tokio::spawn(feed(stdin, input))),
    })
}

impl Running {
    /// The program's standard output. Its end is an error unless the program exits with 0.
    pub(super) fn into_reader(self) -> impl AsyncRead + Send + Unpin {
        StreamReader::new(Box::pin(try_unfold(self, Self::next_chunk)))
    }

    async fn next_chunk(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let mut chunk = BytesMut::with_capacity(64 << 10);
        if self.stdout.read_buf(&mut chunk).await? > 0 {
            return Ok(Some((chunk.freeze(), self)));
        }
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(None);
        }
        Err(io::Error::other(self.failure(status).await))
    }

    async fn failure(&mut self, status: ExitStatus) -> ToolError {
        // Whether it ended or not, what has come so far is shown.
        let _ = timeout(LAST_WORDS, &mut self.stderr).await;
        let tail: Vec<u8> = self.tail.lock().iter().copied().collect();
        let words = String::from_utf8_lossy(&tail);
        let words = words.trim();
        let tool = &self.tool;
        ToolError::new(if words.is_empty() {
            format!("{tool} failed ({status}) and said nothing")
        } else {
            format!("{tool} failed ({status}): {words}")
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `None` once it has been waited for.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended by itself just now; then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes the arguments. A program that does not read them closes the pipe, which is its right.
async fn feed(mut stdin: ChildStdin, input: String) {
    if let Err(error) = stdin.write_all(input.as_bytes()).await {
        tracing::debug!(%error, "a command tool did not read its arguments");
    }
}

/// Reads standard error to its end and keeps the last of it.
async fn keep_tail(mut stderr: ChildStderr, tail: Arc<Mutex<VecDeque<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let mut tail = tail.lock();
        tail.extend(&chunk[..read]);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }
}
