//! `audit`, `history` and `prefs`, over the embedded store and over Supabase.

use std::{
    fs,
    process::{Command, Stdio},
};

use bus_testkit::{Project, Server, run_as_nobody};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Place, Ran, Serving, feed, finish};

/// Where the verbs keep things: a folder, or a project of our own.
struct Kept {
    place: Place,
    project: Option<Project>,
}

impl Kept {
    fn embedded() -> Self {
        Self {
            place: Place::new(),
            project: None,
        }
    }

    async fn supabase(server: Server) -> Self {
        Self {
            place: Place::new(),
            project: Some(Project::take(server).await.unwrap()),
        }
    }

    fn bus(&self, args: &[&str]) -> Command {
        let mut command = self.place.bus(args);
        if let Some(project) = &self.project {
            command
                .args(["--store", "supabase"])
                .env("SUPABASE_URL", project.url())
                .env("SUPABASE_KEY", project.secret_key());
        }
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.bus(args))
    }

    fn say(&self, args: &[&str], text: &[u8]) -> Ran {
        let args = [&["history", "append"], args].concat();
        feed(&mut self.bus(&args), text)
    }
}

/// A conversation with a long entry in it, from its beginning to its end.
fn a_conversation(kept: &Kept) {
    let long = "ü\0\"\\".repeat(50_000);
    let place = |ran: Ran| ran.ok().line();
    assert_eq!(
        place(kept.run(&["history", "append", "talk", "hello"])),
        "1"
    );
    let said = &[
        "talk",
        "--role",
        "assistant",
        "--id",
        "e2",
        "--metadata",
        r#"{"n":1}"#,
    ];
    assert_eq!(place(kept.say(said, long.as_bytes())), "2");
    let again = kept.say(said, long.as_bytes()).ok();
    assert!(again.stderr.contains("said before"), "{}", again.shown());
    assert_eq!(again.line(), "2");
    kept.say(said, b"other").fails(1, "entry id e2 is taken");
    assert!(kept.run(&["history", "show", "talk", "2"]).ok().stdout == long.as_bytes());
    let shown = kept
        .run(&["history", "show", "talk", "2", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&shown["role"], &shown["metadata"]["n"]),
        (&json!("assistant"), &json!(1))
    );
    assert!(shown["text"] == long.as_str());
    let listed = kept.run(&[
        "history", "ls", "talk", "--newest", "--limit", "1", "--json",
    ]);
    let listed = listed.ok().json();
    let entry = &listed["entries"][0];
    assert_eq!(
        (&entry["sequence"], &listed["more"]),
        (&json!(2), &json!(true))
    );
    let id = entry["content"]["claim"]["transaction_id"]
        .as_str()
        .unwrap();
    assert!(kept.run(&["get", id]).ok().stdout == long.as_bytes());
    let text = kept.run(&["history", "ls"]).ok().text();
    assert!(text.contains("talk"), "{text}");
    kept.run(&["history", "rm", "talk"]).ok();
    kept.run(&["get", id]).fails(3, id);
    kept.run(&["history", "show", "talk", "1"])
        .fails(3, "no entry 1");
    kept.run(&["history", "rm", "talk"])
        .fails(3, "no conversation talk");
}

/// Preferences, from unset to removed.
fn preferences(kept: &Kept) {
    let odd = "{\"b\": 1.0,\"a\":\"\\u0000\",\"b\":1e400}";
    kept.run(&["prefs", "get", "ui.theme"])
        .fails(3, "no preference ui.theme");
    kept.run(&["prefs", "set", "ui.theme", odd]).ok();
    assert_eq!(kept.run(&["prefs", "get", "ui.theme"]).ok().line(), odd);
    kept.run(&["prefs", "set", "timezone", "America/New_York"])
        .ok();
    let zone = kept.run(&["prefs", "get", "timezone"]).ok().line();
    assert_eq!(zone, "\"America/New_York\"");
    kept.run(&["prefs", "set", "greeting", "--text", "good \"day\""])
        .ok();
    let listed = kept.run(&["prefs", "ls", "--json"]).ok().text();
    assert!(listed.contains(&format!("\"value\":{odd}")), "{listed}");
    assert!(listed.contains(r#""value":"good \"day\"""#), "{listed}");
    let table = kept.run(&["prefs", "ls"]).ok().text();
    let rows: Vec<_> = table
        .lines()
        .map(|row| row.split_whitespace().next())
        .collect();
    assert_eq!(rows, ["NAME", "greeting", "timezone", "ui.theme"].map(Some));
    kept.run(&["prefs", "rm", "greeting", "ui.theme"]).ok();
    kept.run(&["prefs", "rm", "greeting"])
        .fails(3, "no preference greeting");
}

/// What a daemon wrote of its calls, by each filter.
fn audit(kept: &Kept) {
    kept.run(&["audit"]).ok();
    let mut serve = kept.bus(&["serve", "--json", "-q", "--listen", "127.0.0.1:0"]);
    let daemon = Serving::spawn(&mut serve);
    let call = |args: &[&str]| {
        let args = [&["call", "--url", &daemon.url, "--json"], args].concat();
        finish(&mut kept.place.bus(args))
    };
    call(&["echo", r#"{"text":"x"}"#, "--session", "s1"]).ok();
    call(&["generate", r#"{"bytes":3000000}"#, "--session", "s2"]).ok();
    assert_ne!(call(&["nothing", "--session", "s2"]).code, Some(0));
    assert_eq!(daemon.stop(), Some(0));
    let entries = |args: &[&str]| -> Vec<Value> {
        let args = [&["audit", "--json"], args].concat();
        let listed = kept.run(&args).ok().json();
        listed["entries"].as_array().unwrap().clone()
    };
    let tools = |args: &[&str]| -> Vec<String> {
        let names = entries(args);
        let names = names
            .iter()
            .map(|e| e["tool_name"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(tools(&[]), ["nothing", "generate", "echo"]);
    assert_eq!(tools(&["--session", "s2"]), ["nothing", "generate"]);
    assert_eq!(tools(&["--tool", "echo"]), ["echo"]);
    assert_eq!(tools(&["--limit", "1"]), ["nothing"]);
    assert_eq!(tools(&["--until", "2020-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(
        tools(&["--since", "2020-01-01T00:00:00Z", "--all"]).len(),
        3
    );
    let claimed = &entries(&["--tool", "generate"])[0];
    let id = claimed["transaction_id"].as_str().unwrap();
    assert_eq!(
        (&claimed["route"], &claimed["outcome"]),
        (&json!("claim"), &json!("ok"))
    );
    assert_eq!(tools(&["--transaction", id]), ["generate"]);
    let text = kept.run(&["audit"]).ok().text();
    for part in ["tool_not_found", "too big for one frame", "not inline", id] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn a_conversation_is_kept_in_a_folder() {
    a_conversation(&Kept::embedded());
}

#[test]
fn preferences_are_kept_in_a_folder() {
    preferences(&Kept::embedded());
}

#[test]
fn the_audit_log_is_kept_in_a_folder() {
    audit(&Kept::embedded());
}

#[rstest]
#[case(Server::Lite)]
#[case(Server::Postrust)]
#[tokio::test]
async fn all_of_it_is_kept_in_a_project(#[case] server: Server) {
    let kept = Kept::supabase(server).await;
    tokio::task::spawn_blocking(move || {
        a_conversation(&kept);
        preferences(&kept);
        audit(&kept);
    })
    .await
    .unwrap();
}

#[test]
fn what_is_said_has_to_be_text() {
    let kept = Kept::embedded();
    kept.say(&["talk"], b"ok \xff")
        .fails(2, "not UTF-8 from byte 3");
    kept.say(&["talk", "-"], "from stdin".as_bytes()).ok();
    let said = kept.run(&["history", "show", "talk", "1"]).ok();
    assert_eq!(said.text(), "from stdin");
}

#[rstest]
#[case::no_timezone(&["prefs", "set", "timezone", "Berlin"], "IANA timezone name")]
#[case::spelt_otherwise(&["prefs", "set", "timezone", "europe/berlin"], "write Europe/Berlin")]
#[case::no_json(&["prefs", "set", "theme", "dark"], "--text")]
#[case::no_name(&["prefs", "set", "the theme", "1"], "preference name")]
#[case::no_role(&["history", "append", "c", "x", "--role", "a b"], "such as user")]
#[case::audit_by_url(&["audit", "--url", "http://127.0.0.1:1"], "bus audit works on a store")]
#[case::history_by_url(&["history", "ls", "--url", "http://127.0.0.1:1"], "bus history works on a store")]
#[case::prefs_by_url(&["prefs", "ls", "--url", "http://127.0.0.1:1"], "bus prefs works on a store")]
#[case::memory(&["prefs", "ls", "--store", "memory"], "a store in memory ends")]
fn what_cannot_be_is_refused(#[case] args: &[&str], #[case] message: &str) {
    let place = Place::new();
    place.run(args).fails(2, message);
    assert!(!place.store().exists(), "nothing was touched");
}

/// A store of the format before records, in a folder that may not be written, is read as one that
/// has none, and its messages are there.
#[test]
fn an_earlier_store_that_may_not_be_written_has_no_records() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let from = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../bus-store-embedded/tests/format-1"
    );
    let copied = Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(place.store())
        .status();
    assert!(copied.unwrap().success());
    let opened = Command::new("chmod")
        .args(["-R", "a+rX,a-w"])
        .arg(place.path())
        .status();
    assert!(opened.unwrap().success());
    let run = |args: &[&str]| {
        let mut nobody = run_as_nobody(&place.bus(args)).unwrap();
        Ran::of(nobody.command.stdin(Stdio::null()).output().unwrap())
    };
    let listed = run(&["prefs", "ls", "--json"]).ok().json();
    assert_eq!(listed, json!({"preferences": []}));
    run(&["audit"]).ok();
    run(&["history", "show", "c", "1"]).fails(3, "no entry 1");
    run(&["prefs", "set", "n", "1"]).fails(4, "may not write there");
    assert_eq!(
        run(&["get", "txn_small"]).ok().text(),
        "{\"a\":\"\\u0000\",  \"b\":1.0}"
    );
    let mode = fs::metadata(place.path()).unwrap().permissions().mode();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(mode | 0o700)).unwrap();
}

#[rstest]
#[case("often")]
#[case("-1")]
fn days_of_the_audit_log_are_a_number(#[case] days: &str) {
    let place = Place::new();
    let ran = finish(place.bus(["serve"]).env("BUS_AUDIT_DAYS", days));
    ran.fails(2, "BUS_AUDIT_DAYS");
}

#[test]
fn without_days_no_audit_log_is_written() {
    let place = Place::new();
    let daemon = Serving::start(&place, &["--audit-days", "0"]);
    let url = daemon.url.clone();
    finish(&mut place.bus(["call", "echo", r#"{"text":"x"}"#, "--url", &url])).ok();
    assert_eq!(daemon.stop(), Some(0));
    let listed = place.run(["audit", "--json"]).ok().json();
    assert_eq!(listed, json!({"entries": [], "more": false}));
}
