//! Every function that clients may call, as calls about the records of somebody: what the owner is told, and what
//! anybody else is. A function that is not here fails the catalog's test.

use bus_model::Digest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{
    Message, Target, audit_entry, chunk_request, chunks, held, history_entry, plan, preference,
    with_manifest,
};

/// What a function is given.
#[derive(Debug, Clone)]
pub(crate) enum Args {
    /// One text that holds JSON.
    Request(Value),
    /// The same, and bytes as base64.
    Body(Value, Vec<u8>),
    /// Raw bytes; the request is in a header.
    Raw(Value, Vec<u8>),
    /// Raw bytes alone.
    Bytes(Vec<u8>),
    /// Of `bus_chunk`.
    Chunk {
        principal: String,
        id: Uuid,
        seq: i32,
        until: i32,
    },
}

/// One call, and the word of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    pub(crate) args: Args,
    /// For the owner of what it asks for, and for the service role that names the owner.
    pub(crate) own: &'static str,
    /// For another user, who names the owner as well.
    pub(crate) foreign: &'static str,
}

impl Call {
    pub(crate) fn new(function: &'static str, about: &'static str, args: Args) -> Self {
        Self {
            function,
            about,
            args,
            own: "ok",
            foreign: "ok",
        }
    }

    fn told(mut self, own: &'static str, foreign: &'static str) -> Self {
        (self.own, self.foreign) = (own, foreign);
        self
    }
}

/// All calls about the records of `t`.
pub(crate) fn all(t: &Target) -> Vec<Call> {
    let mut calls = writing(t);
    calls.extend(reading(t));
    calls.extend(keeping(t));
    calls.extend(records(t));
    calls.extend(destroying(t));
    calls
}

fn request(function: &'static str, about: &'static str, request: Value) -> Call {
    Call::new(function, about, Args::Request(request))
}

fn by_key(t: &Target, message: &Message) -> Value {
    json!({ "principal": t.principal, "transaction_id": message.txn })
}

/// The words for the states of a message, in the order of [`Target::messages`].
type Words = [(&'static str, &'static str); 5];

fn each(t: &Target, words: Words, make: impl Fn(&'static str, &Message) -> Call) -> Vec<Call> {
    let messages = t.messages().into_iter().zip(words);
    messages
        .map(|((about, message), (own, foreign))| make(about, message).told(own, foreign))
        .collect()
}

fn writing(t: &Target) -> Vec<Call> {
    let p = &t.principal;
    let parts = chunks(p);
    let lost: Words = [("lease_lost", "lease_lost"); 5];
    let live: Words = {
        let mut words = lost;
        words[2].0 = "ok";
        words
    };
    let taken: Words = [
        ("complete", "new"),
        ("complete", "new"),
        ("busy", "new"),
        ("new", "new"),
        ("new", "new"),
    ];
    let there: Words = [
        ("conflict", "created"),
        ("exists", "created"),
        ("busy", "created"),
        ("created", "created"),
        ("created", "created"),
    ];
    // The writer's own token may go on, and another one may not; nor may the right token of somebody else's message.
    let mut calls = each(t, taken, |about, m| {
        request("bus_begin", about, plan(p, &m.txn, Uuid::from_u128(7), "x"))
    });
    calls.extend(each(t, there, |about, m| {
        let plan = with_manifest(plan(p, &m.txn, Uuid::from_u128(7), "x"), &parts[..1]);
        Call::new("bus_put", about, Args::Body(plan, parts[0].clone()))
    }));
    calls.extend(each(t, live, |about, m| {
        let request = chunk_request(p, m, 1, &parts[1]);
        Call::new(
            "bus_put_chunk",
            about,
            Args::Body(request, parts[1].clone()),
        )
    }));
    calls.extend(each(t, live, |about, m| {
        Call::new(
            "bus_put_chunk_raw",
            about,
            Args::Raw(chunk_request(p, m, 1, &parts[1]), parts[1].clone()),
        )
    }));
    calls.extend(each(t, lost, |about, m| {
        let m = Message {
            token: Uuid::from_u128(7),
            ..m.clone()
        };
        let request = chunk_request(p, &m, 1, &parts[1]);
        Call::new(
            "bus_put_chunk",
            about,
            Args::Body(request, parts[1].clone()),
        )
    }));
    calls.extend(each(t, live, |about, m| {
        request("bus_renew", about, held(p, m))
    }));
    calls
}

fn reading(t: &Target) -> Vec<Call> {
    let p = &t.principal;
    let there: Words = [("ok", "not_found"); 5];
    let readable: Words = [
        ("ok", "not_found"),
        ("ok", "not_found"),
        ("not_complete", "not_found"),
        ("not_complete", "not_found"),
        ("expired", "not_found"),
    ];
    let bytes: Words = [
        ("value", "PT404"),
        ("value", "PT404"),
        ("PT409", "PT404"),
        ("PT409", "PT404"),
        ("PT410", "PT404"),
    ];
    let beyond: Words = [
        ("PT416", "PT404"),
        ("PT416", "PT404"),
        ("PT409", "PT404"),
        ("PT409", "PT404"),
        ("PT410", "PT404"),
    ];
    let mut calls = each(t, there, |about, m| {
        request("bus_record", about, by_key(t, m))
    });
    calls.extend(each(t, readable, |about, m| {
        request("bus_open", about, by_key(t, m))
    }));
    calls.extend(each(t, readable, |about, m| {
        request("bus_body", about, json!({ "principal": p, "id": m.id }))
    }));
    for (words, seq) in [(bytes, 0), (beyond, 9)] {
        calls.extend(each(t, words, |about, m| {
            let (principal, id) = (p.clone(), m.id);
            Call::new(
                "bus_chunk",
                about,
                Args::Chunk {
                    principal,
                    id,
                    seq,
                    until: seq + 1,
                },
            )
        }));
    }
    for status in ["complete", "pending", "error", "expired"] {
        let page = json!({ "principal": p, "limit": 1000, "status": status });
        calls.push(request("bus_list", status, page));
    }
    let after = json!([4_000_000_000_000_i64, t.complete.id]);
    calls.push(request(
        "bus_list",
        "after",
        json!({ "principal": p, "limit": 1000, "after": after }),
    ));
    calls.push(request("bus_stats", "all", json!({ "principal": p })));
    calls.push(request("bus_check", "all", json!({ "principal": p })));
    calls.push(request("bus_doctor", "all", json!({ "principal": p })));
    let echo = Call::new("bus_echo_digest", "bytes", Args::Bytes(b"abc".to_vec()));
    calls.push(echo.told("value", "value"));
    calls
}

fn keeping(t: &Target) -> Vec<Call> {
    let p = &t.principal;
    let stamped: Words = [
        ("ok", "not_found"),
        ("ok", "not_found"),
        ("not_complete", "not_found"),
        ("not_complete", "not_found"),
        ("expired", "not_found"),
    ];
    let mut calls = each(t, stamped, |about, m| {
        request("bus_acknowledge", about, by_key(t, m))
    });
    let keys: Vec<Value> = t
        .messages()
        .iter()
        .map(|(_, m)| json!([p, m.txn]))
        .collect();
    calls.push(request("bus_touch", "keys", json!({ "keys": keys })));
    calls
}

fn records(t: &Target) -> Vec<Call> {
    let p = &t.principal;
    let talk = json!({ "principal": p, "conversation_id": t.conversation });
    let with = |name: &str, value: Value| {
        let mut request = talk.clone();
        request[name] = value;
        request
    };
    let mut page = with("direction", json!("forwards"));
    page["limit"] = json!(100);
    let named = json!({ "principal": p, "name": t.preference });
    vec![
        request("bus_audit_append", "entry", audit_entry(p, t.audit, "x")),
        request(
            "bus_audit_query",
            "all",
            json!({ "principal": p, "limit": 500 }),
        ),
        request(
            "bus_audit_query",
            "session",
            json!({ "principal": p, "limit": 5, "session_id": format!("{p}-session") }),
        ),
        request(
            "bus_history_append",
            "entry",
            history_entry(p, &t.conversation, p),
        )
        .told("exists", "created"),
        request(
            "bus_history_append",
            "other",
            history_entry(p, &t.conversation, "x"),
        )
        .told("conflict", "created"),
        request("bus_history_entry", "entry", with("seq", json!(1))).told("ok", "not_found"),
        request("bus_history_page", "entry", page),
        request(
            "bus_history_conversations",
            "all",
            json!({ "principal": p, "limit": 100 }),
        ),
        request("bus_prefs_get", "color", named).told("ok", "not_found"),
        request(
            "bus_prefs_list",
            "all",
            json!({ "principal": p, "limit": 100 }),
        ),
        request("bus_prefs_set", "color", preference(p, &t.preference, "x")),
    ]
}

/// What takes something away; last, since the calls over HTTP are not undone.
fn destroying(t: &Target) -> Vec<Call> {
    let p = &t.principal;
    let parts = chunks(p);
    let live: Words = {
        let mut words: Words = [("lease_lost", "lease_lost"); 5];
        words[2].0 = "ok";
        words
    };
    let committed: Words = {
        let mut words = live;
        words[0].0 = "lease_lost";
        words[1].0 = "ok";
        words[4].0 = "ok";
        words
    };
    let mut calls = each(t, committed, |about, m| {
        request("bus_commit", about, with_manifest(held(p, m), &parts[..1]))
    });
    let other = with_manifest(held(p, &t.pending), &[vec![b'?'; 3]]);
    calls.push(request("bus_commit", "other bytes", other).told("mismatch", "lease_lost"));
    calls.extend(each(t, live, |about, m| {
        let mut request_ = held(p, m);
        request_["reason"] = json!("x");
        request("bus_abort", about, request_)
    }));
    calls.extend(each(t, [("ok", "not_found"); 5], |about, m| {
        request("bus_delete", about, by_key(t, m))
    }));
    let named = json!({ "principal": p, "name": t.preference });
    let talk = json!({ "principal": p, "conversation_id": t.conversation });
    calls.push(request("bus_prefs_delete", "color", named).told("ok", "not_found"));
    calls.push(request("bus_history_delete", "talk", talk).told("ok", "not_found"));
    calls.push(request(
        "bus_purge",
        "all",
        json!({ "principal": p, "limit": 1000, "acknowledged_after_ms": 0 }),
    ));
    calls.push(request(
        "bus_audit_purge",
        "all",
        json!({ "principal": p, "limit": 1000, "older_than_ms": 0 }),
    ));
    calls
}

/// The digest that `bus_echo_digest` answers to its call.
pub(crate) fn echoed() -> String {
    Digest::of(b"abc").to_string()
}
