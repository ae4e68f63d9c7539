//! What the demo prints: a table for people, a document for programs.

use std::time::Duration;

use bus_model::ByteSize;
use serde_json::json;

use super::{
    input::Sample,
    place::Place,
    rows::{Delivery, Row, throughput},
};
use crate::output::Output;

const HEADER: [&str; 8] = [
    "",
    "TOOL RESULT",
    "SIZE",
    "DELIVERED",
    "TIME",
    "SPEED",
    "RATIO",
    "SHA-256",
];

/// The rows and what they were made with.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) store: Place,
    pub(super) rows: Vec<Row>,
    pub(super) input: Sample,
    pub(super) elapsed: Duration,
}

impl Report {
    /// Whether every row is what it should be.
    pub(super) fn is_ok(&self) -> bool {
        self.rows.iter().all(|row| row.ok)
    }

    /// Prints it to stdout.
    pub(super) fn print(&self, output: Output) -> anyhow::Result<()> {
        if output.json {
            return Ok(output.json(&json!({
                "ok": self.is_ok(),
                "store": self.store.name(),
                "rows": self.rows,
                "input": { "title": self.input.title, "bytes": self.input.size, "sha256": self.input.digest },
                "seconds": self.elapsed.as_secs_f64(),
            }))?);
        }
        output.line(format!(
            "A daemon on a free port, {}, and a client that takes messages of up to 1 MiB.\n",
            self.store.title()
        ))?;
        let mut table = output.table();
        table.set_header(HEADER);
        for row in &self.rows {
            table.add_row(cells(row));
        }
        output.line(table.trim_fmt())?;
        output.line("")?;
        for row in &self.rows {
            if let Some(note) = note(row) {
                output.line(format!("  {}: {note}", row.what))?;
            }
        }
        output.line(self.summary())?;
        Ok(())
    }

    fn summary(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let failed = self.rows.iter().filter(|row| !row.ok).count();
        match failed {
            0 => format!("\nEvery byte matched; nothing is left behind. {seconds:.1} s in all."),
            _ => format!(
                "\n{failed} of {} rows are not what they should be.",
                self.rows.len()
            ),
        }
    }
}

fn cells(row: &Row) -> [String; 8] {
    let size = |bytes| ByteSize::new(bytes).unwrap_or_default().to_string();
    let arrived = row.verified.is_some();
    [
        if row.ok { "ok" } else { "WRONG" }.to_owned(),
        row.what.clone(),
        size(row.size),
        delivered(row.delivery).to_owned(),
        format!("{:.2} s", row.seconds),
        if arrived {
            throughput(row.size, row.seconds)
        } else {
            String::new()
        },
        row.stored_bytes
            .map(|stored| ratio(row.size, stored))
            .unwrap_or_default(),
        match row.verified {
            Some(true) => "same",
            Some(false) => "DIFFERS",
            None => "",
        }
        .to_owned(),
    ]
}

fn delivered(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Closed1009 => "closed 1009",
        Delivery::Inline => "inline",
        Delivery::Claim => "by claim",
        Delivery::Refused => "refused",
        Delivery::Failed => "failed",
    }
}

fn ratio(size: u64, stored: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let ratio = size as f64 / stored.max(1) as f64;
    format!("{ratio:.1} : 1")
}

/// What does not fit a cell.
fn note(row: &Row) -> Option<String> {
    if let Some(peak) = row.peak_memory_bytes {
        let peak = ByteSize::new(peak).unwrap_or_default();
        return Some(format!("peak memory {peak}, daemon and client together"));
    }
    (!row.note.is_empty()).then(|| row.note.clone())
}
