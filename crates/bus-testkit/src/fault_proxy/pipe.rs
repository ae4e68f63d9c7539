//! One connection through the proxy: two directions, and how it ends.

use super::{Fault, Order, Shared};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How much is read at once.
const BUFFER: usize = 16 << 10;

/// How much waits in one direction before nothing more is read: what a delay holds back.
const QUEUE: usize = 4 << 20;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both directions came to their end, or one side went away.
    Orderly,
    Cut,
    Reset,
}

/// Passes on, both ways, until one of the ends.
pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let _ = client.set_nodelay(true);
    let first = *shared.order.borrow();
    let refused = first.fault == Some(Fault::Refuse);
    let server = if refused {
        None
    } else {
        TcpStream::connect(shared.upstream).await.ok()
    };
    let Some(mut server) = server else {
        shared.broken.fetch_add(1, Ordering::Relaxed);
        let _ = client.set_zero_linger();
        return;
    };
    let _ = server.set_nodelay(true);
    let end = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        let mut up = Pipe::new(Way::Up, client_in, server_out, &shared, first);
        let mut down = Pipe::new(Way::Down, server_in, client_out, &shared, first);
        both(&mut up, &mut down).await
    };
    if end != End::Orderly {
        shared.broken.fetch_add(1, Ordering::Relaxed);
    }
    match end {
        End::Orderly => {}
        End::Reset => {
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
        End::Cut => close(client, server).await,
    }
}

/// The end of the direction that was broken, or of both.
async fn both(up: &mut Pipe<'_>, down: &mut Pipe<'_>) -> End {
    let (mut up, mut down) = (std::pin::pin!(up.run()), std::pin::pin!(down.run()));
    let (end, up_ended) = tokio::select! {
        end = &mut up => (end, true),
        end = &mut down => (end, false),
    };
    match end {
        End::Orderly if up_ended => down.await,
        End::Orderly => up.await,
        end => end,
    }
}

/// FIN to both. What still arrives is read for a while: a close with unread bytes would be a reset.
async fn close(mut client: TcpStream, mut server: TcpStream) {
    let _ = client.shutdown().await;
    let _ = server.shutdown().await;
    let drain = |mut stream: TcpStream| async move {
        let mut buffer = vec![0; BUFFER];
        while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
    };
    let drained = futures::future::join(drain(client), drain(server));
    let _ = timeout(Duration::from_secs(10), drained).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What waits to be passed on; empty at the end of the direction.
struct Part {
    due: Instant,
    bytes: Vec<u8>,
}

/// One direction of one connection.
struct Pipe<'a> {
    way: Way,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    shared: &'a Shared,
    orders: watch::Receiver<Order>,
    /// `Order::reset` when the connection began.
    since: u64,
    /// The order in force, and how many bytes passed since it was given.
    order: Order,
    passed: u64,
    queue: VecDeque<Part>,
    queued: usize,
    /// What a throttle asks for.
    not_before: Instant,
    ended: bool,
}

impl<'a> Pipe<'a> {
    fn new(
        way: Way,
        from: ReadHalf<'a>,
        to: WriteHalf<'a>,
        shared: &'a Shared,
        first: Order,
    ) -> Self {
        Self {
            way,
            from,
            to,
            shared,
            orders: shared.order.subscribe(),
            since: first.reset,
            order: first,
            passed: 0,
            queue: VecDeque::new(),
            queued: 0,
            not_before: Instant::now(),
            ended: false,
        }
    }

    async fn run(&mut self) -> End {
        let mut buffer = vec![0; BUFFER];
        loop {
            if let Some(end) = self.end() {
                return end;
            }
            let due = self.queue.front().map(|part| part.due.max(self.not_before));
            let room = self.queued < QUEUE && !self.ended;
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return End::Reset;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    match self.pass().await {
                        Some(end) => return end,
                        None => continue,
                    }
                }
                read = self.from.read(&mut buffer), if room => match read {
                    Ok(read) => self.queue(&buffer[..read]),
                    // What one side resets is reset on the other.
                    Err(_) => return End::Reset,
                },
            }
        }
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.obey();
        let delay = match self.order.fault {
            Some(Fault::Delay(time)) => time,
            _ => Duration::ZERO,
        };
        self.ended = bytes.is_empty();
        self.queued += bytes.len();
        self.queue.push_back(Part {
            due: Instant::now() + delay,
            bytes: bytes.to_vec(),
        });
    }

    /// Passes on what is due, or as much of it as the order allows at once.
    async fn pass(&mut self) -> Option<End> {
        let part = self.queue.pop_front()?;
        self.queued -= part.bytes.len();
        if self.silent() {
            // An end is kept back as long as the silence lasts; bytes are lost.
            if part.bytes.is_empty() {
                self.queue.push_front(part);
                return self.orders.changed().await.err().map(|_| End::Reset);
            }
            return None;
        }
        if part.bytes.is_empty() {
            let _ = self.to.shutdown().await;
            return Some(End::Orderly);
        }
        let mut rest = part.bytes;
        let now = self.allowed(rest.len());
        let written = tokio::select! {
            written = self.to.write(&rest[..now]) => written,
            changed = self.orders.changed() => {
                if changed.is_err() {
                    return Some(End::Reset);
                }
                Ok(0)
            }
        };
        let Ok(written) = written else {
            return Some(End::Reset);
        };
        self.count(written as u64);
        rest.drain(..written);
        if let Some(Fault::Throttle { bytes_per_sec }) = self.order.fault {
            self.not_before = Instant::now() + share(written, bytes_per_sec);
        }
        if !rest.is_empty() {
            self.queued += rest.len();
            self.queue.push_front(Part {
                due: part.due,
                bytes: rest,
            });
        }
        None
    }

    fn silent(&self) -> bool {
        match self.order.fault {
            Some(Fault::Blackhole) => true,
            Some(Fault::HalfOpen) => self.way == Way::Down,
            _ => false,
        }
    }

    /// How many of `bytes` may pass at once.
    fn allowed(&self, bytes: usize) -> usize {
        let most = match self.order.fault {
            // In steps of a fiftieth of a second.
            Some(Fault::Throttle { bytes_per_sec }) => (bytes_per_sec / 50).max(1),
            _ => self.limit().map_or(u64::MAX, |limit| limit - self.passed),
        };
        bytes.min(usize::try_from(most).unwrap_or(bytes))
    }

    /// How this connection ends now, if it does.
    fn end(&mut self) -> Option<End> {
        self.obey();
        let over = self.limit().is_some_and(|limit| self.passed >= limit);
        match self.order.fault {
            _ if self.order.reset > self.since => Some(End::Reset),
            Some(Fault::Refuse) => Some(End::Reset),
            Some(Fault::ResetAfter { .. }) => over.then_some(End::Reset),
            Some(Fault::CutAfter { .. }) => over.then_some(End::Cut),
            _ => None,
        }
    }

    fn obey(&mut self) {
        let order = *self.orders.borrow_and_update();
        if order.number != self.order.number {
            self.passed = 0;
        }
        self.order = order;
    }

    fn limit(&self) -> Option<u64> {
        match self.order.fault {
            Some(Fault::ResetAfter { up, down } | Fault::CutAfter { up, down }) => match self.way {
                Way::Up => up,
                Way::Down => down,
            },
            _ => None,
        }
    }

    fn count(&mut self, bytes: u64) {
        self.passed += bytes;
        let counter = match self.way {
            Way::Up => &self.shared.up,
            Way::Down => &self.shared.down,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How long so many bytes take.
fn share(bytes: usize, bytes_per_sec: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_sec.max(1) as f64)
}
