//! The rows of the demo: what is done, what must come of it, and what did.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bus_model::{ByteSize, ContentType, Digest};
use bus_protocol::{InlineResult, RequestId};
use bus_remote::{CallOptions, CallOutcome, Remote, RemoteError, RemoteErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    input::{Sample, digest_of},
    stage::{Setting, Stage},
};
use crate::output::with_causes;

/// The rows, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Without,
    Inline,
    Claim,
    Escaped,
    Big,
    Input,
    DisabledInline,
    DisabledRefused,
}

/// How a payload came, or why it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Delivery {
    /// The client closed the connection with 1009.
    Closed1009,
    /// In its frame.
    Inline,
    /// By claim, redeemed.
    Claim,
    /// Refused with a reason.
    Refused,
    /// Something went wrong.
    Failed,
}

/// One row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What was done.
    pub(super) what: String,
    /// Size of the payload in bytes.
    pub(super) size: u64,
    /// How it came.
    pub(super) delivery: Delivery,
    /// From the call to the last checked byte.
    pub(super) seconds: f64,
    /// Size of the stored body, where it was stored.
    pub(super) stored_bytes: Option<u64>,
    /// The most memory that the whole process held meanwhile, where it was measured.
    pub(super) peak_memory_bytes: Option<u64>,
    /// Whether the received bytes have the SHA-256 of the file; `None` where none were to come.
    pub(super) verified: Option<bool>,
    /// What else there is to say.
    pub(super) note: String,
    /// Whether it is what it should be.
    pub(super) ok: bool,
}

impl Step {
    pub(super) const ALL: [Self; 8] = [
        Self::Without,
        Self::Inline,
        Self::Claim,
        Self::Escaped,
        Self::Big,
        Self::Input,
        Self::DisabledInline,
        Self::DisabledRefused,
    ];

    /// What people read while it runs, and in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Without => "without bus: 5 MB in one frame",
            Self::Inline => "500 KB",
            Self::Claim => "5 MB",
            Self::Escaped => "900 KB of quotes",
            Self::Big => "large",
            Self::Input => "a real file",
            Self::DisabledInline => "bus disabled: 500 KB",
            Self::DisabledRefused => "bus disabled: 5 MB",
        }
    }

    fn setting(self) -> Setting {
        match self {
            Self::Without => Setting::OneFrame,
            Self::DisabledInline | Self::DisabledRefused => Setting::Disabled,
            _ => Setting::Bus,
        }
    }

    fn sample(self, stage: &Stage) -> &Sample {
        match self {
            Self::Without | Self::Claim | Self::DisabledRefused => &stage.files.medium,
            Self::Inline | Self::DisabledInline => &stage.files.small,
            Self::Escaped => &stage.files.quoted,
            Self::Big => &stage.files.big,
            Self::Input => &stage.files.input,
        }
    }

    fn is_expected(self, delivery: Delivery) -> bool {
        match self {
            Self::Without => delivery == Delivery::Closed1009,
            Self::Inline | Self::DisabledInline => delivery == Delivery::Inline,
            Self::Claim | Self::Escaped | Self::Big => delivery == Delivery::Claim,
            // Whatever the caller's file is, it comes by the way that fits it.
            Self::Input => matches!(delivery, Delivery::Inline | Delivery::Claim),
            Self::DisabledRefused => delivery == Delivery::Refused,
        }
    }
}

/// Plays one row. Whatever goes wrong is told in the row.
pub(super) async fn play(step: Step, stage: &Stage) -> Row {
    let sample = step.sample(stage);
    if step == Step::Big {
        forget_peak_memory();
    }
    let start = Instant::now();
    let received = receive(step, stage, sample).await;
    let seconds = start.elapsed().as_secs_f64();
    let mut row = Row {
        what: match step {
            Step::Big => format!("{} MB", sample.size >> 20),
            Step::Input => sample.title.clone(),
            step => step.title().to_owned(),
        },
        size: sample.size,
        delivery: Delivery::Failed,
        seconds,
        stored_bytes: None,
        peak_memory_bytes: (step == Step::Big).then(peak_memory).flatten(),
        verified: None,
        note: String::new(),
        ok: false,
    };
    match received {
        Ok(received) => {
            row.delivery = received.delivery;
            row.stored_bytes = received.stored_bytes;
            let same = (received.digest, received.size) == (sample.digest, sample.size);
            row.verified = Some(same);
            row.note = received.note;
            row.ok = same && step.is_expected(row.delivery);
        }
        Err(error) => {
            (row.delivery, row.note) = explain(&error);
            row.ok = step.is_expected(row.delivery);
            row.peak_memory_bytes = None;
        }
    }
    row
}

/// A payload that arrived.
struct Received {
    delivery: Delivery,
    digest: Digest,
    size: u64,
    stored_bytes: Option<u64>,
    note: String,
}

async fn receive(step: Step, stage: &Stage, sample: &Sample) -> anyhow::Result<Received> {
    let remote = stage.connect(step.setting()).await?;
    let mut arguments = Map::new();
    arguments.insert("path".to_owned(), Value::from(sample.name.as_str()));
    match remote
        .call("read_file", arguments, CallOptions::default())
        .await?
    {
        CallOutcome::Inline(payload) => {
            let payload = payload.into_payload()?;
            let size = payload.len() as u64;
            let digest = tokio::task::spawn_blocking(move || Digest::of(&payload)).await?;
            let note = String::new();
            Ok(Received {
                delivery: Delivery::Inline,
                digest,
                size,
                stored_bytes: None,
                note,
            })
        }
        CallOutcome::Claim(claim, retrieval) => {
            let place = stage.place_for(&sample.name);
            redeem(&remote, &claim, &retrieval, &place).await?;
            let (digest, size) = tokio::task::spawn_blocking(move || digest_of(&place)).await??;
            let note = match step {
                Step::Escaped => format!("its frame would have {}", frame_of(sample, stage).await?),
                _ => String::new(),
            };
            let stored_bytes = Some(retrieval.stored_bytes);
            Ok(Received {
                delivery: Delivery::Claim,
                digest,
                size,
                stored_bytes,
                note,
            })
        }
    }
}

async fn redeem(
    remote: &Remote,
    claim: &bus_model::Claim,
    retrieval: &bus_model::Retrieval,
    place: &Path,
) -> anyhow::Result<()> {
    remote
        .redeem(claim, retrieval)
        .await?
        .to_file(place)
        .await?;
    remote
        .http()
        .acknowledge(&claim.message_bus_transaction_id)
        .await?;
    Ok(())
}

/// How large the frame of a text file would be.
async fn frame_of(sample: &Sample, stage: &Stage) -> anyhow::Result<ByteSize> {
    let text = tokio::fs::read_to_string(stage.place_for(&sample.name)).await?;
    let id = RequestId::new("0".repeat(36))?;
    Ok(ByteSize::new(
        InlineResult::stream(&id, &text, &ContentType::text()).frame_bytes(),
    )?)
}

fn explain(error: &anyhow::Error) -> (Delivery, String) {
    let remote = error.downcast_ref::<RemoteError>();
    let delivery = match remote.map(|error| (error.kind(), error.code())) {
        Some((RemoteErrorKind::FrameTooLarge, Some("1009"))) => Delivery::Closed1009,
        Some((RemoteErrorKind::TooLarge, Some("TOO_LARGE"))) => Delivery::Refused,
        _ => Delivery::Failed,
    };
    let whole = with_causes(error.as_ref());
    // What the other columns say already.
    let note = whole
        .trim_start_matches("tool read_file: ")
        .trim_end_matches(": closed with 1009");
    (delivery, note.to_owned())
}

/// The most memory that this process has held since it was last forgotten.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Starts the measurement anew; where the system does not let us, it includes the rows before.
fn forget_peak_memory() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!(%error, "peak memory counts from the start of the process");
    }
}

/// Bytes a second, for people.
pub(super) fn throughput(size: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
    let mib =
        size as f64 / f64::from(1 << 20) / Duration::from_micros(1).as_secs_f64().max(seconds);
    format!("{mib:.0} MiB/s")
}
