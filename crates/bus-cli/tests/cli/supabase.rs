//! The verbs, the demo and the daemon on a Supabase project, as processes.

use std::{ffi::OsStr, fs::File, io::Write as _, process::Command};

use bus_testkit::{
    Project, Server, json_payload, peak_rss, random_payload, sha256_file, write_random_payload,
};
use rstest::rstest;

use crate::support::{Place, Ran, Serving, finish};

/// A folder, and a project that the environment names.
struct Site {
    place: Place,
    project: Project,
}

impl Site {
    async fn on(server: Server) -> Self {
        Self {
            place: Place::new(),
            project: Project::take(server).await.unwrap(),
        }
    }

    /// The program with address and key in its environment.
    fn bus<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.place.bus(args);
        command
            .env("SUPABASE_URL", self.project.url())
            .env("SUPABASE_KEY", self.project.secret_key());
        command
    }

    /// The same with `--store supabase`, run to its end. The gateway lives in this process, so nothing may block it.
    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.bus(args.iter().chain(&["--store", "supabase"]));
        ended(&mut command).await
    }

    async fn rows(&self) -> i64 {
        self.rows_of("message_bus").await
    }

    async fn rows_of(&self, table: &str) -> i64 {
        let database = self.project.connect().await.unwrap();
        let count = format!("select count(*) from public.{table}");
        database.query_one(&count, &[]).await.unwrap().get(0)
    }
}

async fn ended(command: &mut Command) -> Ran {
    tokio::task::block_in_place(|| finish(command))
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_works_on_a_project(#[values(Server::Postrust, Server::Lite)] server: Server) {
    let site = Site::on(server).await;
    let payload = random_payload(5 << 20, 1);
    let (file, small) = (
        site.place.file("file", &payload),
        site.place.file("small", "{}"),
    );
    site.run(&["put", &file, "--txn", "t", "--tool", "analyse"])
        .await
        .ok();
    site.run(&["put", &small, "--txn", "u"]).await.ok();
    site.run(&["put", &small, "--txn", "t"])
        .await
        .fails(1, "another digest");

    let listed = site.run(&["ls", "--json"]).await.ok().json();
    assert_eq!(listed["messages"][0]["transaction_id"], "u");
    assert_eq!(listed["messages"][1]["transaction_id"], "t");
    let filtered = site
        .run(&["ls", "--json", "--tool", "analyse"])
        .await
        .ok()
        .json();
    assert_eq!(filtered["messages"].as_array().unwrap().len(), 1);
    let shown = site.run(&["show", "t", "--json"]).await.ok().json();
    assert_eq!(shown["payload_size_bytes"], payload.len());

    site.run(&["get", "t", "-o", "back"]).await.ok();
    assert_eq!(site.place.read("back"), payload);
    let part = site
        .run(&["get", "t", "--range", "2097150-2097153"])
        .await
        .ok();
    assert_eq!(part.stdout, payload[2_097_150..=2_097_153]);
    site.run(&["verify"]).await.ok();
    let stats = site.run(&["stats", "--json"]).await.ok().json();
    assert_eq!(stats["complete"], 2);

    site.run(&["rm", "t"]).await.ok();
    site.run(&["get", "t"]).await.fails(3, "t");
    let age = "update public.message_bus set expires_at = now() - interval '1 hour'";
    site.project.sql(age).await.unwrap();
    site.run(&["get", "u"]).await.fails(3, "expired");
    let purged = site.run(&["purge", "--json"]).await.ok().json();
    assert_eq!(purged["expired"], 1);
    assert_eq!(site.rows().await, 0);
    assert!(
        !site.place.store().exists(),
        "the embedded store was not touched"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_the_original_select_the_project() {
    let site = Site::on(Server::Postrust).await;
    let file = site.place.file("file", "x");
    let mut put = site.bus(["put", &file, "--txn", "t"]);
    ended(put.env("MESSAGE_BUS_ENABLED", "true")).await.ok();
    assert_eq!(site.rows().await, 1);

    // Without it, and with a flag that says otherwise, the embedded store is meant.
    ended(&mut site.bus(["show", "t"])).await.fails(3, "t");
    let mut elsewhere = site.bus(["put", &file, "--store", "embedded:elsewhere"]);
    ended(elsewhere.env("MESSAGE_BUS_ENABLED", "true"))
        .await
        .ok();
    assert_eq!(site.rows().await, 1);

    // And from a file.
    let (url, key) = (site.project.url(), site.project.secret_key());
    let settings = format!("MESSAGE_BUS_ENABLED=true\nSUPABASE_URL={url}\nSUPABASE_KEY={key}\n");
    site.place.file(".env", settings);
    ended(&mut site.place.bus(["show", "t"])).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_through_the_daemon_streams_into_the_project_in_bounded_memory() {
    const SIZE: u64 = 160 << 20;
    let site = Site::on(Server::Postrust).await;
    let path = site.place.path().join("large");
    let mut file = File::create(&path).unwrap();
    write_random_payload(&mut file, SIZE, 4).unwrap();
    file.flush().unwrap();
    let mut serve = site.bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]);
    serve
        .args(["--store", "supabase"])
        .env("MESSAGE_BUS_MAX_PAYLOAD_MB", "256");
    let daemon = tokio::task::block_in_place(|| Serving::spawn(&mut serve));

    let put = ["put", "large", "--txn", "t", "--url", &daemon.url];
    ended(&mut site.place.bus(put)).await.ok();
    let get = ["get", "t", "-o", "back", "--url", &daemon.url];
    ended(&mut site.place.bus(get)).await.ok();
    let back = site.place.path().join("back");
    assert_eq!(sha256_file(&back).unwrap(), sha256_file(&path).unwrap());
    let peak = peak_rss(daemon.pid()).unwrap() >> 20;
    assert!(peak <= 96, "{peak} MiB for {} MiB", SIZE >> 20);
    assert_eq!(daemon.stop(), Some(0));
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_on_a_project_and_leaves_nothing_behind(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let site = Site::on(server).await;
    let kept = site.place.file("kept", "somebody else's");
    site.run(&["put", &kept, "--txn", "kept"]).await.ok();
    let input = site.place.file("input", json_payload(3_000_000, 2));
    let temp = site.place.path().join("tmp");
    std::fs::create_dir(&temp).unwrap();

    let mut demo = site.bus([
        "demo", "--store", "supabase", "--json", "--big-mb", "8", "--input", &input,
    ]);
    // No other setting counts.
    demo.env("MESSAGE_BUS_COMPRESSION", "nonsense")
        .env("TMPDIR", &temp);
    let ran = ended(&mut demo).await.ok();
    let report = ran.json();
    assert_eq!(report["ok"], true, "{}", ran.shown());
    assert_eq!(report["store"], "supabase");
    let claims = report["rows"].as_array().unwrap().iter();
    assert_eq!(claims.filter(|row| row["delivery"] == "claim").count(), 4);
    assert!(
        site.project.gateway().count("rpc/bus_commit") >= 3,
        "it was stored there"
    );
    assert_eq!(
        site.rows().await,
        1,
        "what was there before is there, and nothing else"
    );
    assert_eq!(site.rows_of("audit_log").await, 0);
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_says_where_it_played() {
    let site = Site::on(Server::Postrust).await;
    let input = site.place.file("input", "small");
    let text = site
        .run(&["demo", "--big-mb", "2", "--input", &input])
        .await
        .ok()
        .text();
    assert!(text.contains(site.project.url()), "{text}");
    assert!(!text.contains(site.project.secret_key()), "{text}");
}

#[rstest]
#[case::nothing(&[], "SUPABASE_URL and SUPABASE_KEY are not set")]
#[case::no_key(&[("SUPABASE_URL", "https://x.example")], "SUPABASE_KEY is not set")]
#[case::no_url(&[("SUPABASE_KEY", "sb_secret_x")], "SUPABASE_URL is not set")]
#[case::no_address(&[("SUPABASE_URL", "x.example"), ("SUPABASE_KEY", "sb_secret_x")], "SUPABASE_URL=\"[not shown]\" is not allowed: an http or https URL is expected")]
fn a_demo_without_a_project_says_what_is_missing(
    #[case] variables: &[(&str, &str)],
    #[case] said: &str,
) {
    let place = Place::new();
    let mut demo = place.bus(["demo", "--store", "supabase"]);
    finish(demo.envs(variables.iter().copied())).fails(2, said);
}

#[rstest]
#[case(&["--store", "memory"], "--store supabase")]
#[case(&["--store", "embedded:x"], "--store supabase")]
#[case(&["--url", "http://127.0.0.1:1"], "leave --url away")]
fn a_demo_takes_no_other_place(#[case] flags: &[&str], #[case] said: &str) {
    let args = ["demo"].iter().chain(flags);
    Place::new().run(args).fails(2, said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_on_a_project_without_our_schema_says_so_before_it_plays() {
    let site = Site {
        place: Place::new(),
        project: Project::own(Server::Postrust).await.unwrap(),
    };
    let drop_all = "drop schema public cascade; create schema public; grant usage on schema public to anon, authenticated, service_role; notify pgrst, 'reload schema'";
    site.project.sql(drop_all).await.unwrap();
    let ran = site.run(&["demo"]).await;
    assert!(matches!(ran.code, Some(1..=5)), "{}", ran.shown());
    assert!(
        ran.stderr.contains("bus migrate") && ran.stdout.is_empty(),
        "{}",
        ran.shown()
    );
}
