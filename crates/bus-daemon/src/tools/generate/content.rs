//! The bytes of `generate`: pure, exact in size, the same for the same seed.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A list of records, as logs and query results are; compresses to about a fifth.
    #[default]
    Json,
    /// Lines of words.
    Text,
    /// Bytes that do not compress and are not UTF-8.
    Random,
}

/// Content that is made chunk by chunk.
#[derive(Debug)]
pub struct Content {
    kind: Kind,
    /// Bytes still to make.
    left: u64,
    random: Random,
    records: u64,
    started: bool,
    /// Made, but not handed out yet.
    ready: Vec<u8>,
}

impl Content {
    /// `bytes` bytes of `kind`. JSON is well formed from one byte on.
    #[must_use]
    pub fn new(kind: Kind, bytes: u64, seed: u64) -> Self {
        Self {
            kind,
            left: bytes,
            random: Random(seed),
            records: 0,
            started: false,
            ready: Vec::new(),
        }
    }

    /// The next bytes, about `size` of them; `None` at the end.
    pub fn next_chunk(&mut self, size: usize) -> Option<Bytes> {
        while self.ready.len() < size && self.left > 0 {
            match self.kind {
                Kind::Json => self.json(),
                Kind::Text => self.text(),
                Kind::Random => self.noise(),
            }
        }
        let chunk = std::mem::take(&mut self.ready);
        (!chunk.is_empty()).then(|| chunk.into())
    }

    /// A list in brackets; what is left where no further record fits is white space.
    fn json(&mut self) {
        if !self.started {
            self.started = true;
            if self.left == 1 {
                return self.push(b"0");
            }
            return self.push(b"[");
        }
        if self.left == 1 {
            return self.push(b"]");
        }
        let record = self.record();
        if (record.len() as u64) < self.left {
            self.push(record.as_bytes());
        } else {
            let room = usize::try_from(self.left - 1).expect("less than a record");
            self.push(" ".repeat(room).as_bytes());
        }
    }

    fn record(&mut self) -> String {
        const LEVELS: [&str; 4] = ["debug", "info", "warning", "error"];
        let number = self.records;
        self.records += 1;
        let mut text = String::with_capacity(320);
        if number > 0 {
            text.push_str(",\n");
        }
        let (second, took) = (self.random.below(86_400), self.random.below(1_000_000));
        let level = LEVELS[self.random.index(LEVELS.len())];
        let _ = write!(
            text,
            r#"{{"id":{number},"time":"2026-11-{:02}T{:02}:{:02}:{:02}Z","level":"{level}","#,
            number / 86_400 % 28 + 1,
            second / 3600,
            second / 60 % 60,
            second % 60,
        );
        let user = self.word();
        let _ = write!(
            text,
            r#""user":"{user}{}","took_ms":{}.{:03},"trace":"{:016x}","message":""#,
            self.random.below(1000),
            took / 1000,
            took % 1000,
            self.random.next(),
        );
        for i in 0..8 + self.random.below(16) {
            text.push_str(if i > 0 { " " } else { "" });
            text.push_str(self.word());
        }
        text.push_str("\"}");
        text
    }

    fn text(&mut self) {
        let mut line = String::with_capacity(96);
        while line.len() < 72 {
            line.push_str(self.word());
            line.push(' ');
        }
        line.pop();
        line.push('\n');
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.push(&line.as_bytes()[..line.len().min(most)]);
    }

    fn noise(&mut self) {
        let word = self.random.next().to_le_bytes();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.push(&word[..word.len().min(most)]);
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.random.index(WORDS.len())]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.ready.extend_from_slice(bytes);
        self.left -= bytes.len() as u64;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast and the same on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }
}

const WORDS: [&str; 48] = [
    "account",
    "after",
    "answer",
    "backup",
    "before",
    "block",
    "buffer",
    "cache",
    "channel",
    "claim",
    "client",
    "commit",
    "connection",
    "daemon",
    "deadline",
    "digest",
    "disk",
    "error",
    "event",
    "failed",
    "file",
    "finished",
    "header",
    "index",
    "key",
    "lease",
    "limit",
    "manifest",
    "memory",
    "message",
    "network",
    "opened",
    "page",
    "payload",
    "queue",
    "record",
    "request",
    "retry",
    "session",
    "signal",
    "started",
    "store",
    "stream",
    "table",
    "token",
    "tool",
    "waiting",
    "writer",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(kind: Kind, bytes: u64, seed: u64, chunk: usize) -> Vec<u8> {
        let mut content = Content::new(kind, bytes, seed);
        let mut out = Vec::new();
        while let Some(chunk) = content.next_chunk(chunk) {
            out.extend_from_slice(&chunk);
        }
        out
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Json), Just(Kind::Text), Just(Kind::Random)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn sizes_are_exact_and_json_is_json(
            kind in kinds(), bytes in 1_u64..5000, seed: u64, chunk in 1_usize..2000,
        ) {
            let made = all(kind, bytes, seed, chunk);
            prop_assert_eq!(made.len() as u64, bytes);
            if kind == Kind::Json {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&made).is_ok());
            }
            if kind != Kind::Random {
                prop_assert!(made.is_ascii());
            }
            prop_assert_eq!(made, all(kind, bytes, seed, 777));
        }
    }

    #[test]
    fn another_seed_makes_other_bytes() {
        for kind in [Kind::Json, Kind::Text, Kind::Random] {
            assert_ne!(all(kind, 1000, 1, 100), all(kind, 1000, 2, 100));
        }
    }

    #[test]
    fn bytes_of_a_seed_never_change() {
        let start = all(Kind::Text, 20, 1, 100);
        assert_eq!(String::from_utf8(start).unwrap(), "error cache network ");
    }
}
