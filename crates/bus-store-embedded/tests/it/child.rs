//! This test program as another process: the tests start it again, with a task in its environment.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines, Write as _, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use bus_model::Digest;
use bus_store::Store as _;
use bus_store_embedded::{EmbeddedStore, Options, Step, StepHook};

use crate::support::{LEASE, begin, body, message, noise, publish, upload};

const TASK: &str = "BUS_EMBEDDED_TEST_TASK";
const DIR: &str = "BUS_EMBEDDED_TEST_DIR";

/// The size of a chunk that children write.
pub(crate) const CHUNK: usize = 50_000;

/// A child, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program with `task` on the store in `dir`.
    pub(crate) fn start(dir: &Path, task: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child::process", "--nocapture"])
            .env(TASK, task)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            stdin,
            lines,
        }
    }

    /// The next thing it says, or `None` where it has ended. What the test harness prints is
    /// passed over.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((_, said)) = line.split_once("child: ") {
                return Some(said.to_owned());
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, if it has not ended by itself; what it had said before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(text: &str) {
    let mut out = stdout().lock();
    writeln!(out, "child: {text}").unwrap();
    out.flush().unwrap();
}

/// The payload that a child publishes under `name`, of a size that depends on it.
pub(crate) fn payload(name: &str) -> Vec<u8> {
    let digest = Digest::of(name.as_bytes());
    let seed = u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap());
    let size = match seed % 3 {
        0 => 100,
        1 => 70_000,
        _ => 400_000,
    };
    noise(size, seed)
}

/// What a child does; in the test run itself, nothing.
#[tokio::test]
async fn process() {
    let (Ok(task), Some(dir)) = (env::var(TASK), env::var_os(DIR)) else {
        return;
    };
    let (task, argument) = task.split_once(' ').unwrap_or((&task, ""));
    let options = Options {
        checkpoint_bytes: 2 * CHUNK as u64,
        on_step: stop_at(if task == "stop-at" { argument } else { "" }),
        ..Options::default()
    };
    let store = EmbeddedStore::open_with(dir, options).unwrap();
    match task {
        // Over at once, so that the lock alone tells the living from the dead.
        "publish" => publish_for_ever(&store, argument, Duration::from_millis(1)).await,
        "publish-leased" => publish_for_ever(&store, argument, LEASE).await,
        "stop-at" => publish_and_delete(&store).await,
        "hold" => hold(&store).await,
        other => panic!("{other} is not a task"),
    }
}

/// Ends this process the hard way right after the step of that name.
fn stop_at(step: &str) -> StepHook {
    let (step, nth) = step.split_once(' ').unwrap_or((step, "1"));
    let step = step.to_owned();
    let left = std::sync::atomic::AtomicU32::new(nth.parse().unwrap());
    StepHook::new(move |done: Step| {
        if format!("{done:?}") == step
            && left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1
        {
            let own = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &own]).status();
            loop {
                std::thread::park();
            }
        }
    })
}

/// Publishes one message after the other, large and small, whole and in steps, and says so after
/// each.
async fn publish_for_ever(store: &EmbeddedStore, prefix: &str, lease: Duration) {
    for i in 0.. {
        let name = format!("{prefix}-{i}");
        let mut message = message(&name, CHUNK as u64);
        message.plan.lease = lease;
        let whole = body(payload(&name), CHUNK);
        if i % 2 == 0 {
            store
                .put(&message, &whole.manifest, &whole.chunks)
                .await
                .unwrap();
        } else {
            let begun = begin(store, &message).await;
            upload(store, &begun.token, &whole.chunks).await;
            store.commit(&begun.token, &whole.manifest).await.unwrap();
        }
        say(&name);
    }
}

/// Publishes `one` in several chunks, then deletes it.
async fn publish_and_delete(store: &EmbeddedStore) {
    publish(store, "one", &body(noise(6 * CHUNK, 1), CHUNK)).await;
    say("published");
    store.delete(&crate::support::key("one")).await.unwrap();
    say("deleted");
}

/// Holds an upload whose lease is over, until it is told to commit.
async fn hold(store: &EmbeddedStore) {
    let mut message = message("held", CHUNK as u64);
    message.plan.lease = Duration::from_millis(1);
    let whole = body(noise(6 * CHUNK, 1), CHUNK);
    let begun = begin(store, &message).await;
    upload(store, &begun.token, &whole.chunks[..3]).await;
    say("holding");
    for line in stdin().lines() {
        match line.unwrap().as_str() {
            "commit" => {
                upload(store, &begun.token, &whole.chunks).await;
                let done = store.commit(&begun.token, &whole.manifest).await;
                say(&done.map_or_else(|e| format!("{:?}", e.kind()), |_| "committed".into()));
            }
            other => panic!("{other} is not an order"),
        }
    }
}
