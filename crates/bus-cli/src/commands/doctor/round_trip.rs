//! Messages of three sizes, there and back: the only lines that write. What they write is removed again, also after
//! a failure or an interruption; what a crash leaves expires by itself.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use bus_client::{ClientErrorKind, Message, MessageBusClient, Source};
use bus_model::{TransactionId, Ttl};
use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    commands::doctor::line::Line,
    exit::{Exit, Failure, exit_of},
    output::with_causes,
};

/// The name of each line and the size of its payload in bytes.
const SIZES: [(&str, usize); 3] = [
    ("round trip 1 B", 1),
    ("round trip 1 MiB", 1 << 20),
    ("round trip 16 MiB", 16 << 20),
];

/// How long the clean-up may take.
const CLEAN_UP: Duration = Duration::from_secs(4);

/// How long what could not be removed lives, in hours.
const TTL_HOURS: &str = "0.25";

/// What the messages of the doctor say of themselves.
const NAME: &str = "bus-doctor";

/// The lines, one by one as they are found.
///
/// # Errors
/// Where it was interrupted: its messages are removed first.
pub(super) async fn run(
    client: &MessageBusClient,
    stop: &CancellationToken,
    mut tell: impl FnMut(Line) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    for (name, size) in SIZES {
        let id: TransactionId = format!("doctor_{}", Uuid::new_v4().simple()).parse()?;
        let line = {
            let mut trip = pin!(trip(client, &id, name, size));
            tokio::select! {
                line = &mut trip => Some(line),
                () = stop.cancelled() => None,
            }
        };
        let left = clean_up(client, &id).await;
        let Some(line) = line else {
            return Err(Failure::interrupted().into());
        };
        tell(match left {
            // A trip that failed tells why this did, too.
            Some(left) if !line.is_failure() => Line::warning(name, line.summary).detail(left),
            _ => line,
        })?;
    }
    Ok(())
}

/// The lines of a run that leaves the trips out.
pub(super) fn skipped(why: &str) -> Vec<Line> {
    SIZES
        .iter()
        .map(|(name, _)| Line::skipped(name, why))
        .collect()
}

async fn trip(
    client: &MessageBusClient,
    id: &TransactionId,
    name: &'static str,
    size: usize,
) -> Line {
    let payload = random_bytes(size);
    let began = Instant::now();
    if let Err(error) = publish(client, id, payload.clone()).await {
        return failed(name, "it could not be stored", error);
    }
    let up = began.elapsed();
    let began = Instant::now();
    let came_back = async { anyhow::Ok(client.fetch(id).await?.bytes().await?) }.await;
    let down = began.elapsed();
    match came_back {
        Ok(bytes) if bytes == payload => Line::ok(
            name,
            format!(
                "identical; {} up, {} down",
                speed(size, up),
                speed(size, down)
            ),
        ),
        Ok(_) => Line::failure(name, "other bytes came back than were stored")
            .advice("please report this, with the output of bus doctor --json")
            .exit(Exit::Mismatch),
        Err(error) => failed(name, "it was stored and could not be read back", error),
    }
}

async fn publish(
    client: &MessageBusClient,
    id: &TransactionId,
    payload: Bytes,
) -> anyhow::Result<()> {
    let message = Message {
        transaction_id: Some(id.clone()),
        ttl: Some(TTL_HOURS.parse::<Ttl>()?),
        ..Message::new(NAME.parse()?, NAME.parse()?)
    };
    client.publish(message, Source::bytes(payload)).await?;
    Ok(())
}

fn failed(name: &'static str, what: &str, error: anyhow::Error) -> Line {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<bus_client::ClientError>());
    if kind.is_some_and(|error| error.kind() == ClientErrorKind::TooLarge) {
        return Line::skipped(name, with_causes(error.as_ref()));
    }
    Line::failure(name, what)
        .detail(with_causes(error.as_ref()))
        .exit(exit_of(&error))
}

/// Removes the message, whatever became of it; why that was not possible.
async fn clean_up(client: &MessageBusClient, id: &TransactionId) -> Option<String> {
    let why = match timeout(CLEAN_UP, client.delete(id)).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) if error.kind() == ClientErrorKind::NotFound => return None,
        Ok(Err(error)) => with_causes(&error),
        Err(_) => "it took too long".to_owned(),
    };
    Some(format!(
        "message {id} could not be removed ({why}); it expires within {TTL_HOURS} hours"
    ))
}

fn speed(size: usize, time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if size < 1 << 20 {
        return format!("{ms:.1} ms");
    }
    #[allow(clippy::cast_precision_loss, reason = "16 MiB are exact")]
    let mib = size as f64 / f64::from(1 << 20);
    format!(
        "{:.0} MiB/s ({ms:.0} ms)",
        mib / time.as_secs_f64().max(1e-9)
    )
}

/// Bytes that do not compress, so that what is measured is the store.
fn random_bytes(size: usize) -> Bytes {
    // xorshift64*; the seed is of no secret.
    let mut state = Uuid::new_v4().as_u64_pair().0 | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_many_as_asked_for_and_no_two_runs_share_them() {
        assert_eq!(random_bytes(1).len(), 1);
        let (one, two) = (random_bytes(4099), random_bytes(4099));
        assert_eq!((one.len(), two.len()), (4099, 4099));
        assert_ne!(one, two);
    }

    #[test]
    fn speeds_are_told_where_there_is_something_to_measure() {
        assert_eq!(speed(1, Duration::from_micros(1500)), "1.5 ms");
        assert_eq!(
            speed(16 << 20, Duration::from_millis(500)),
            "32 MiB/s (500 ms)"
        );
    }
}
