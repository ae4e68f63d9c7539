//! Running a command so that a person sees its output at once and a check can read it afterwards.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

/// What a command printed, on both streams, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

/// Runs it to its end.
pub(crate) fn tee(command: &mut Command) -> Result<Outcome> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let errors = thread::spawn(move || forward(stderr));
    let mut text = forward(stdout);
    text.push_str(&errors.join().unwrap_or_default());
    let ok = child.wait()?.success();
    Ok(Outcome { ok, text })
}

fn forward(stream: impl Read) -> String {
    let mut seen = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        seen.push_str(&text);
        line.clear();
    }
    seen
}
