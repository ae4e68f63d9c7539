//! Nobody learns that an id exists: what is somebody else's answers exactly as what is not there.

use bus_testkit::{Project, Server};
use rstest::rstest;
use tokio_postgres::Client;

use crate::calls::{self, Call};
use crate::cells::Cells;
use crate::who::{Answer, Who, become_sql, call_setup, call_sql, direct_sql, rest};
use crate::world::{Target, keep, restore, seed};

/// Those who have nothing to do with the records that they ask for.
const STRANGERS: [Who; 4] = [
    Who::Anon,
    Who::NoSub,
    Who::User("mallory"),
    Who::User("bob"),
];

/// Plans of both kinds: a generic one evaluates parts of a WHERE clause late, for rows that exist only.
#[rstest]
#[tokio::test]
async fn straight_at_the_database_foreign_and_absent_answer_alike(
    #[values("auto", "force_generic_plan", "force_custom_plan")] plans: &str,
    #[values("on", "off")] index_scans: &str,
) {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let settings = format!(
        "set plan_cache_mode = {plans}; set enable_indexscan = {index_scans}; set enable_bitmapscan = {index_scans};"
    );
    client.batch_execute(&settings).await.unwrap();
    let mut cells = Cells::default();
    for who in STRANGERS {
        for (foreign, absent) in pairs(&targets[0]) {
            let told = ask(&client, who, &foreign).await;
            let wanted = ask(&client, who, &absent).await;
            compare(&mut cells, who, &foreign, &targets[0], &told, &wanted);
        }
    }
    cells.judge(250);
}

#[rstest]
#[tokio::test]
async fn over_http_foreign_and_absent_answer_alike(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let http = reqwest::Client::new();
    let targets = seed(&client).await;
    keep(&client).await;
    let mut cells = Cells::default();
    for who in [Who::Anon, Who::NoSub, Who::User("bob")] {
        for (foreign, absent) in pairs(&targets[0]) {
            let mut told = Vec::new();
            for call in [&foreign, &absent] {
                told.push(rest(&http, &project, who, call).await);
                if who == Who::User("bob") {
                    restore(&client).await;
                }
            }
            compare(&mut cells, who, &foreign, &targets[0], &told[0], &told[1]);
        }
    }
    cells.judge(250);
}

/// Each call about what is there, and the same about what is not.
fn pairs(target: &Target) -> Vec<(Call, Call)> {
    let foreign = calls::all(target);
    let absent = calls::all(&target.ghost());
    foreign.into_iter().zip(absent).collect()
}

async fn ask(client: &Client, who: Who, call: &Call) -> Answer {
    let setup = format!("{}{}", call_setup(call), become_sql(who));
    direct_sql(client, &setup, &call_sql(call), false).await
}

fn compare(
    cells: &mut Cells,
    who: Who,
    call: &Call,
    target: &Target,
    told: &Answer,
    wanted: &Answer,
) {
    let wanted = Answer {
        body: target.as_if_real(&wanted.body),
        ..wanted.clone()
    };
    cells.equal(&told.masked(), &wanted.masked(), || {
        format!(
            "{who:?} {} of {}'s {}",
            call.function, target.principal, call.about
        )
    });
}

/// The comparison finds what it looks for: a function that judges its caller within a WHERE clause tells.
#[tokio::test]
async fn a_function_that_tells_is_found() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let careless = "create or replace function public.bus_body(request text) returns text
        language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
        begin
          perform from public.message_bus m where m.id = (request::json ->> 'id')::uuid
            and m.principal = bus_internal.principal(request::json ->> 'principal');
          return bus_internal.outcome('not_found');
        end $$;
        set local plan_cache_mode = force_generic_plan;";
    let setup = format!("{careless}{}", become_sql(Who::NoSub));
    let mut words = Vec::new();
    for target in [&targets[0], &targets[0].ghost()] {
        let calls = calls::all(target);
        let call = calls
            .iter()
            .find(|call| call.function == "bus_body")
            .unwrap();
        words.push(
            direct_sql(&client, &setup, &call_sql(call), false)
                .await
                .word(),
        );
    }
    assert_eq!(words, ["PT403", "not_found"]);
}
