//! Who claims to be somebody else: by the request, by the token, by its headers, by what it may make in the session.

use bus_testkit::{Project, Server};
use rstest::rstest;
use serde_json::{Value, json};

use crate::calls;
use crate::cells::Cells;
use crate::tables::TABLES;
use crate::who::{Who, become_sql, become_with, call_setup, call_sql, direct_sql, plain_sql, send};
use crate::world::{base64, plan, seed, state_of, with_manifest};

/// The principal of a user is the `sub` of its token, whatever the request says.
#[tokio::test]
async fn what_a_user_writes_is_its_own_whoever_it_names() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let before = state_of(&client, "alice").await;
    let mut written = false;
    for call in calls::all(&targets[0]) {
        let setup = format!("{}{}", call_setup(&call), become_sql(Who::User("mallory")));
        direct_sql(&client, &setup, &call_sql(&call), true).await;
        assert_eq!(
            state_of(&client, "alice").await,
            before,
            "{} {}",
            call.function,
            call.about
        );
        written |= state_of(&client, "mallory")
            .await
            .contains(&targets[0].complete.txn);
    }
    assert!(written, "what was written is mallory's");
}

#[tokio::test]
async fn a_sub_that_names_no_user_is_denied() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    seed(&client).await;
    let long = "a".repeat(129);
    let subs = [
        Value::Null,
        json!(""),
        json!(" "),
        json!("al ice"),
        json!("alice\n"),
        json!("\nalice"),
        json!("älice"),
        json!(long),
        json!([" "]),
        json!({ "sub": "alice" , "x": " "}),
    ];
    let mut cells = Cells::default();
    let mut claims: Vec<String> = subs
        .iter()
        .map(|sub| json!({ "sub": sub }).to_string())
        .collect();
    claims.extend(
        [
            "",
            "{}",
            "[]",
            "null",
            "\"alice\"",
            "[{\"sub\":\"alice\"}]",
            "7",
        ]
        .map(str::to_owned),
    );
    for claims in &claims {
        for call in [
            "bus_check('{}')",
            "bus_record('{\"principal\":\"alice\",\"transaction_id\":\"k1-complete\"}')",
        ] {
            let setup = become_with("authenticated", claims);
            let answer = direct_sql(&client, &setup, &format!("select public.{call}"), false).await;
            cells.equal(&answer.word().as_str(), &"PT403", || {
                format!("{call} with {claims}: {}", answer.body)
            });
        }
        for table in &TABLES {
            let sql = format!("select count(*) from public.{}", table.name);
            let answer =
                direct_sql(&client, &become_with("authenticated", claims), &sql, false).await;
            cells.equal(&answer.body.as_str(), &"0", || {
                format!("{sql} with {claims}")
            });
        }
    }
    cells.judge(100);
}

/// Forged, tampered with, expired: no such token sees more than anon, which is nothing.
#[rstest]
#[tokio::test]
async fn a_forged_token_sees_nothing(#[values(Server::Lite, Server::Postrust)] server: Server) {
    let project = Project::take(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let http = reqwest::Client::new();
    let mut cells = Cells::default();
    for (kind, token) in forged(&project) {
        for path in [
            "message_bus",
            "user_preferences",
            "rpc/bus_list?request={\"limit\":9,\"principal\":\"alice\"}",
        ] {
            let answer = send(&http, &project, Who::Anon, |http, base| {
                http.get(format!("{base}/{path}")).bearer_auth(&token)
            })
            .await;
            let refused = answer.status.starts_with('4') || answer.status.starts_with('5');
            cells.check(refused, || format!("{kind} GET {path}: {answer:?}"));
            for secret in targets[0].secrets() {
                cells.check(!answer.body.contains(&secret), || {
                    format!("{kind} GET {path}: {answer:?}")
                });
            }
        }
    }
    cells.judge(100);
}

fn forged(project: &Project) -> Vec<(&'static str, String)> {
    let url_safe = |value: &Value| {
        base64(value.to_string().as_bytes())
            .replace('+', "-")
            .replace('/', "_")
            .replace('=', "")
    };
    let whole = project.user_jwt("alice");
    let parts: Vec<&str> = whole.split('.').collect();
    let service = json!({ "role": "service_role", "exp": 4_000_000_000_i64 });
    let none = json!({ "alg": "none", "typ": "JWT" });
    let hour = chrono::TimeDelta::hours(1);
    vec![
        (
            "another payload under its signature",
            format!("{}.{}.{}", parts[0], url_safe(&service), parts[2]),
        ),
        (
            "no signature",
            format!("{}.{}.", parts[0], url_safe(&service)),
        ),
        (
            "algorithm none",
            format!("{}.{}.", url_safe(&none), url_safe(&service)),
        ),
        ("a cut signature", whole[..whole.len() - 4].to_owned()),
        (
            "expired",
            project.jwt("authenticated", Some("alice"), -hour),
        ),
        (
            "an unknown role",
            project.jwt("nobody_of_this_name", Some("alice"), hour),
        ),
        ("anon with a sub", project.jwt("anon", Some("alice"), hour)),
        ("garbage", "not.a.token".to_owned()),
        ("the publishable key", project.publishable_key().to_owned()),
    ]
}

/// Settings are not taken from headers, and helpers and built-in functions are not behind the API.
#[rstest]
#[tokio::test]
async fn headers_and_other_schemas_open_no_door(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let http = reqwest::Client::new();
    let mut cells = Cells::default();
    let headers = [
        ("role", "service_role"),
        (
            "request.jwt.claims",
            "{\"sub\":\"alice\",\"role\":\"service_role\"}",
        ),
        ("x-forwarded-user", "alice"),
        ("accept-profile", "bus_internal"),
        ("content-profile", "bus_internal"),
        ("prefer", "params=single-object, tx=commit"),
    ];
    for (name, value) in headers {
        for function in [
            "bus_list",
            "scope",
            "schema_version",
            "set_config",
            "pg_read_file",
        ] {
            let body = json!({ "request": "{\"principal\":\"alice\",\"limit\":9}" });
            let answer = send(&http, &project, Who::User("mallory"), |http, base| {
                http.post(format!("{base}/rpc/{function}"))
                    .json(&body)
                    .header(name, value)
            })
            .await;
            // Another profile may be refused, or passed over.
            let right = if function == "bus_list" && answer.status == "200" {
                answer.body.contains("[]")
            } else {
                answer.status.starts_with('4')
            };
            cells.check(right, || format!("{name}: {value}, {function}: {answer:?}"));
            for secret in targets[0].secrets() {
                cells.check(!answer.body.contains(&secret), || {
                    format!("{name}, {function}: {answer:?}")
                });
            }
        }
    }
    cells.judge(100);
}

/// A temporary type with the name of a built-in one would come first, were it not for the pinned search_path; and what
/// its check calls would run as the owner of the function.
#[tokio::test]
async fn nothing_that_a_user_makes_in_its_session_runs_as_the_owner() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let trap = "create function pg_temp.trap() returns boolean language plpgsql as
        $$ begin raise exception 'I am %', current_user; end $$;";
    let mut cells = Cells::default();
    let set = |call: &calls::Call| {
        let user = become_sql(Who::User("alice"));
        format!("{}{user}{trap}{}", call_setup(call), traps())
    };
    for call in calls::all(&targets[0]) {
        let answer = direct_sql(&client, &set(&call), &call_sql(&call), false).await;
        let case = || format!("{} {}: {}", call.function, call.about, answer.body);
        cells.check(!answer.body.contains("I am "), case);
        cells.equal(&answer.word().as_str(), &call.own, case);
        plain_sql(&client, "discard all").await;
    }
    // The trap is one: without the pin it springs, and whoever set it is the owner.
    let calls = calls::all(&targets[0]);
    let call = calls
        .iter()
        .find(|call| call.function == "bus_record")
        .unwrap();
    let setup = format!(
        "alter function public.bus_record(text) set search_path = ''; {}",
        set(call)
    );
    let answer = direct_sql(&client, &setup, &call_sql(call), false).await;
    cells.check(answer.body.contains("I am postgres"), || {
        answer.body.clone()
    });
    cells.judge(100);
}

fn traps() -> String {
    let types = [
        "json",
        "jsonb",
        "uuid",
        "text",
        "bytea",
        "timestamptz",
        "oid",
        "regclass",
        "regprocedure",
        "name",
        "record",
        "int8",
        "int4",
        "bool",
        "interval",
        "numeric",
        "bit",
        "message_bus",
        "audit_log",
        "conversation_history",
        "user_preferences",
    ];
    let one = |name: &&str| match *name {
        "record" => String::new(),
        "message_bus" | "audit_log" | "conversation_history" | "user_preferences" => {
            format!("create temporary table {name} (trap text);")
        }
        _ => format!("create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.trap());"),
    };
    types.iter().map(one).collect()
}

/// The service names whom it acts for; nobody named is `default`.
#[tokio::test]
async fn the_service_acts_for_whom_it_names() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    seed(&client).await;
    let chunk = vec![b"x".to_vec()];
    for (named, wanted) in [
        (json!("carol"), "carol"),
        (json!(""), "default"),
        (Value::Null, "default"),
    ] {
        let mut request = with_manifest(
            plan(
                "carol",
                &format!("new-{wanted}-{named}").replace('"', ""),
                uuid::Uuid::new_v4(),
                "x",
            ),
            &chunk,
        );
        request["principal"] = named;
        let sql = format!(
            "select public.bus_put({}, {})",
            crate::who::quote(&request.to_string()),
            crate::who::quote(&base64(b"x"))
        );
        let answer = direct_sql(&client, &become_sql(Who::Service), &sql, true).await;
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["record"]["principal"], wanted, "{}", answer.body);
    }
}
