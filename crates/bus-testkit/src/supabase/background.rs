//! Where the kit's own work runs: a runtime and a thread that live as long as the process.
//!
//! A test may block its own runtime (it waits for a program, say) while the gateway must go on answering, and a child
//! that dies with its parent dies with the *thread* that started it. So both have a place of their own here.

use anyhow::{Context, Result};
use std::future::Future;
use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("testkit")
        .enable_all()
        .build()
        .expect("a process that runs tests may start threads")
});

type Order = (Command, Sender<io::Result<Child>>);

static SPAWNER: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            // Whoever asked may be gone; then nobody wants the child either.
            if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    });
    orders
});

/// The runtime that gateways, proxies and connections live on.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Runs `work` on the kit's runtime, whatever runtime the caller has.
pub(crate) async fn here<T, F>(work: F) -> Result<T>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    runtime()
        .spawn(work)
        .await
        .context("the test kit's task ended before its work")?
}

/// Blocking work, off the reactor.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    F: FnOnce() -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    runtime()
        .spawn_blocking(work)
        .await
        .context("the test kit's blocking task ended before its work")?
}

/// Runs `work` to its end, or for `limit`, from a `Drop` in any context.
pub(crate) fn finish<F>(limit: Duration, work: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (done, wait) = mpsc::channel();
    runtime().spawn(async move {
        work.await;
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(limit);
}

/// Starts a child from the thread that outlives all tests.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, wait) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts children is gone");
    SPAWNER.send((command, answer)).map_err(|_| gone())?;
    wait.recv().map_err(|_| gone())?
}
