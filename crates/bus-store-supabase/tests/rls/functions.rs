//! Every function x every caller x every record that it can be asked about.

use bus_testkit::{Project, Server};
use rstest::rstest;

use crate::calls::{self, Call};
use crate::cells::Cells;
use crate::who::{Answer, EVERYBODY, Who, direct, rest};
use crate::world::{Target, keep, restore, seed, state_of};

/// The word that `who` must be told.
fn wanted(who: Who, call: &Call, target: &Target) -> &'static str {
    match who {
        Who::Anon => "42501",
        // Needs no principal and reads nothing.
        _ if call.function == "bus_echo_digest" => call.own,
        Who::NoSub => "PT403",
        Who::Service => call.own,
        Who::User(name) if name == target.principal => call.own,
        Who::User(_) => call.foreign,
    }
}

fn may_see(who: Who, target: &Target) -> bool {
    who == Who::Service || who == Who::User(target_name(target))
}

fn target_name(target: &Target) -> &'static str {
    match target.principal.as_str() {
        "alice" => "alice",
        "bob" => "bob",
        _ => "",
    }
}

fn judge(
    cells: &mut Cells,
    who: Who,
    call: &Call,
    targets: &[Target; 3],
    target: &Target,
    answer: &Answer,
) {
    let cell = || {
        format!(
            "{who:?} {} of {}'s {}",
            call.function, target.principal, call.about
        )
    };
    cells.equal(&answer.word().as_str(), &wanted(who, call, target), || {
        format!("{} ({})", cell(), answer.body)
    });
    for other in targets.iter().filter(|other| !may_see(who, other)) {
        for secret in other.secrets() {
            let told = answer.body.contains(&secret);
            cells.check(!told, || {
                format!("{} tells {secret}: {}", cell(), answer.body)
            });
        }
    }
}

#[tokio::test]
async fn straight_at_the_database_each_caller_is_told_its_own_and_no_more() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let mut cells = Cells::default();
    for target in &targets {
        for who in EVERYBODY {
            for call in calls::all(target) {
                let answer = direct(&client, who, &call).await;
                judge(&mut cells, who, &call, &targets, target, &answer);
            }
        }
    }
    cells.judge(10_000);
}

#[rstest]
#[tokio::test]
async fn over_http_each_caller_is_told_its_own_and_no_more(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let http = reqwest::Client::new();
    let targets = seed(&client).await;
    keep(&client).await;
    let before = state_of(&client, "alice").await;
    let mut cells = Cells::default();
    for who in EVERYBODY {
        for call in calls::all(&targets[0]) {
            let answer = rest(&http, &project, who, &call).await;
            judge_http(&mut cells, server, who, &call, &targets, &answer);
            if !may_see(who, &targets[0]) {
                let after = state_of(&client, "alice").await;
                cells.check(after == before, || {
                    format!("{who:?} {} changed what is alice's", call.function)
                });
            }
            if matches!(who, Who::User(_) | Who::Service) {
                restore(&client).await;
            }
        }
    }
    cells.judge(2_000);
}

/// Lite refuses raw bytes, and postrust's gateway answers them itself, as PostgREST does.
fn judge_http(
    cells: &mut Cells,
    server: Server,
    who: Who,
    call: &Call,
    targets: &[Target; 3],
    answer: &Answer,
) {
    let raw = matches!(call.args, calls::Args::Raw(..) | calls::Args::Bytes(_));
    if raw && server == Server::Lite {
        let refused = answer.status.starts_with('4');
        cells.check(refused, || {
            format!("{who:?} {} on lite: {answer:?}", call.function)
        });
        return;
    }
    if call.function == "bus_echo_digest" && answer.status == "200" {
        cells.check(answer.body.contains(&calls::echoed()), || {
            format!("{who:?}: {answer:?}")
        });
    }
    let whole = answer.status != "200" || !answer.body.is_empty();
    cells.check(whole, || {
        format!("{who:?} {}: an empty answer", call.function)
    });
    judge(cells, who, call, targets, &targets[0], answer);
}
