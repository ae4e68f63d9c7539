//! Results of calls, kept for a while for clients that repeat a call.
//!
//! A client of the original's frames never acknowledges, so nothing says when a result may go:
//! the store is bounded in time, in bytes and in number, and the oldest go first. Pure: it is
//! handed `now`.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use bus_model::{Digest, Hasher, SessionId};
use bus_protocol::RequestId;
use serde_json::{Map, Value};

/// What makes two calls the same: the tool and the arguments, whatever the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(Digest);

impl Fingerprint {
    pub(crate) fn of(name: &str, arguments: &Map<String, Value>) -> Self {
        let mut hasher = Hasher::new();
        text(&mut hasher, name);
        object(&mut hasher, arguments);
        Self(hasher.finish())
    }
}

/// Every value is preceded by its kind and, where its length varies, by its length, so that no two
/// values look alike.
fn value(hasher: &mut Hasher, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(flag) => hasher.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => {
            hasher.update(b"d");
            text(hasher, &number.to_string());
        }
        Value::String(string) => {
            hasher.update(b"s");
            text(hasher, string);
        }
        Value::Array(items) => {
            hasher.update(b"a");
            hasher.update(&items.len().to_be_bytes());
            items.iter().for_each(|item| self::value(hasher, item));
        }
        Value::Object(map) => object(hasher, map),
    }
}

fn object(hasher: &mut Hasher, map: &Map<String, Value>) {
    hasher.update(b"o");
    hasher.update(&map.len().to_be_bytes());
    // The map keeps the client's order where some crate in the program asks serde_json for that.
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_unstable();
    for key in keys {
        text(hasher, key);
        value(hasher, &map[key]);
    }
}

fn text(hasher: &mut Hasher, text: &str) {
    hasher.update(&text.len().to_be_bytes());
    hasher.update(text.as_bytes());
}

/// A call within its session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    pub(crate) session_id: SessionId,
    pub(crate) request_id: RequestId,
}

/// What an entry costs beside its frame: keys, numbers and their places in two collections.
const OVERHEAD: usize = 512;

/// Bounds of a [`Results`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) age: Duration,
    pub(crate) bytes: usize,
    pub(crate) count: usize,
}

/// The kept results of all sessions.
#[derive(Debug)]
pub(crate) struct Results {
    bounds: Bounds,
    kept: HashMap<CallKey, Kept>,
    /// Oldest first. Entries that were replaced stay behind with an old number and are skipped.
    order: VecDeque<(u64, CallKey)>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    fingerprint: Fingerprint,
    frame: Utf8Bytes,
    at: Instant,
    number: u64,
}

impl Results {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            kept: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            next: 0,
        }
    }

    /// Keeps the frame that answered a call. One that is larger than all that may be kept is not.
    pub(crate) fn keep(
        &mut self,
        key: CallKey,
        fingerprint: Fingerprint,
        frame: Utf8Bytes,
        now: Instant,
    ) {
        self.forget(&key);
        let number = self.next;
        self.next += 1;
        self.bytes += frame.len() + OVERHEAD;
        self.order.push_back((number, key.clone()));
        let kept = Kept {
            fingerprint,
            frame,
            at: now,
            number,
        };
        self.kept.insert(key, kept);
        self.trim(now);
    }

    /// What a call was and what answered it.
    pub(crate) fn find(&mut self, key: &CallKey, now: Instant) -> Option<(Fingerprint, Utf8Bytes)> {
        self.trim(now);
        let kept = self.kept.get(key)?;
        Some((kept.fingerprint, kept.frame.clone()))
    }

    /// Drops what is too old or too much.
    pub(crate) fn trim(&mut self, now: Instant) {
        while let Some((number, key)) = self.order.front() {
            let current = self.kept.get(key).filter(|kept| kept.number == *number);
            let Some(kept) = current else {
                self.order.pop_front();
                continue;
            };
            let old = now.saturating_duration_since(kept.at) >= self.bounds.age;
            if !old && self.bytes <= self.bounds.bytes && self.kept.len() <= self.bounds.count {
                break;
            }
            let key = key.clone();
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &CallKey) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.frame.len() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn key(request: &str) -> CallKey {
        CallKey {
            session_id: SessionId::new("s").unwrap(),
            request_id: RequestId::new(request).unwrap(),
        }
    }

    fn fingerprint(name: &str, arguments: &Value) -> Fingerprint {
        Fingerprint::of(name, arguments.as_object().unwrap())
    }

    fn results(bytes: usize, count: usize) -> Results {
        Results::new(Bounds {
            age: Duration::from_secs(600),
            bytes,
            count,
        })
    }

    fn keep(results: &mut Results, request: &str, frame: &str, now: Instant) {
        let print = fingerprint("echo", &json!({}));
        results.keep(key(request), print, frame.into(), now);
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":[3]}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":{"d":[3],"c":2},"a":1}"#).unwrap();
        assert_eq!(fingerprint("t", &one), fingerprint("t", &other));
    }

    #[test]
    fn other_arguments_are_another_call() {
        let different = [
            json!({}),
            json!({"a": null}),
            json!({"a": 1}),
            json!({"a": "1"}),
            json!({"a": [1]}),
            json!({"a": [[1]]}),
            json!({"a": {"b": 1}}),
            json!({"ab": 1}),
        ];
        for (i, one) in different.iter().enumerate() {
            for other in &different[i + 1..] {
                assert_ne!(fingerprint("t", one), fingerprint("t", other));
            }
        }
        assert_ne!(fingerprint("t", &json!({})), fingerprint("u", &json!({})));
    }

    #[test]
    fn a_result_is_found_until_its_time_is_over() {
        let (mut results, start) = (results(1000, 10), Instant::now());
        keep(&mut results, "a", "frame", start);
        let late = start + Duration::from_secs(599);
        assert_eq!(results.find(&key("a"), late).unwrap().1.as_str(), "frame");
        assert!(
            results
                .find(&key("a"), start + Duration::from_secs(600))
                .is_none()
        );
        assert_eq!(results.bytes, 0);
    }

    #[test]
    fn the_oldest_go_first() {
        let (mut results, now) = (results(10 + 2 * OVERHEAD, 10), Instant::now());
        keep(&mut results, "a", "12345", now);
        keep(&mut results, "b", "12345", now);
        keep(&mut results, "c", "1", now);
        assert!(results.find(&key("a"), now).is_none());
        assert!(results.find(&key("b"), now).is_some());
        assert!(results.find(&key("c"), now).is_some());
    }

    #[test]
    fn a_result_larger_than_everything_is_not_kept() {
        let (mut results, now) = (results(10, 10), Instant::now());
        keep(&mut results, "a", "12345678901", now);
        assert!(results.find(&key("a"), now).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_bounds_hold_whatever_is_kept(
            steps in prop::collection::vec((0_u8..20, 0_usize..40, 0_u64..200), 1..100)
        ) {
            let mut results = results(100 + 5 * OVERHEAD, 7);
            let mut now = Instant::now();
            for (request, bytes, seconds) in steps {
                now += Duration::from_secs(seconds);
                keep(&mut results, &request.to_string(), &"x".repeat(bytes), now);
                let sizes = results.kept.values().map(|kept| kept.frame.len() + OVERHEAD);
                let held: usize = sizes.sum();
                prop_assert_eq!(held, results.bytes);
                prop_assert!(held <= 100 + 5 * OVERHEAD && results.kept.len() <= 7);
                prop_assert!(results.order.len() <= 100);
            }
        }
    }
}
