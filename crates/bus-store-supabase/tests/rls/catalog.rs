//! What the catalog says of everything that is ours: found there, so that what is new must be put into the matrix.

use std::collections::{BTreeMap, BTreeSet};

use bus_testkit::{Project, Server};
use tokio_postgres::Client;

use crate::calls;
use crate::cells::Cells;
use crate::tables::TABLES;
use crate::who::{Who, become_sql, direct_sql};
use crate::world::seed;

async fn client() -> (Project, Client) {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    (project, client)
}

async fn names(client: &Client, sql: &str) -> BTreeSet<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect()
}

#[tokio::test]
async fn every_table_and_every_function_is_in_the_matrix() {
    let (_project, client) = client().await;
    // Views, sequences and foreign tables, too: there are none.
    let found = names(
        &client,
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ('public', 'bus_internal') and c.relkind not in ('i', 'I', 't', 'c')",
    )
    .await;
    let known: BTreeSet<String> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    assert_eq!(
        found, known,
        "tables: add the new one to TABLES in tables.rs"
    );

    let found = names(
        &client,
        "select distinct p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'public'",
    )
    .await;
    let targets = seed(&client).await;
    let known = calls::all(&targets[0])
        .into_iter()
        .map(|call| call.function.to_owned())
        .collect();
    assert_eq!(found, known, "functions: add the new one to calls.rs");

    let doubled = names(
        &client,
        "select p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'public' group by p.proname having count(*) > 1",
    )
    .await;
    assert!(
        doubled.is_empty(),
        "a name with two functions is ambiguous over HTTP: {doubled:?}"
    );
}

#[tokio::test]
async fn every_function_is_pinned_and_granted_by_name() {
    let (_project, client) = client().await;
    let rows = client
        .query(
            "select n.nspname::text, p.oid::regprocedure::text, p.prosecdef, coalesce(p.proconfig, '{}'),
               array(select pg_get_userbyid(a.grantee)::text from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                 where a.grantee <> 0 and a.grantee <> p.proowner order by 1),
               exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname in ('public', 'bus_internal')",
            &[],
        )
        .await
        .unwrap();
    let mut cells = Cells::default();
    for row in &rows {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let (definer, settings): (bool, Vec<String>) = (row.get(2), row.get(3));
        let (granted, everybody): (Vec<String>, bool) = (row.get(4), row.get(5));
        // pg_temp stands last: where it is not named, it comes first.
        let pinned = settings
            .iter()
            .any(|setting| setting == "search_path=pg_catalog, pg_temp");
        cells.check(pinned, || {
            format!("{name}: search_path is not pinned to pg_catalog, pg_temp: {settings:?}")
        });
        cells.check(!everybody, || format!("{name}: PUBLIC may execute it"));
        let wanted: &[&str] = if schema == "public" {
            &["authenticated", "service_role"]
        } else {
            &[]
        };
        cells.equal(
            &granted,
            &wanted.iter().map(ToString::to_string).collect(),
            || format!("{name}: granted to"),
        );
        // Helpers act with the rights of the function that calls them; the one that needs no rights has none.
        let wanted = schema == "public" && !name.contains("bus_echo_digest");
        cells.equal(&definer, &wanted, || format!("{name}: security definer"));
    }
    cells.judge(150);
}

#[tokio::test]
async fn every_table_has_row_level_security_and_policies_to_read_only() {
    let (_project, client) = client().await;
    let rows = client
        .query(
            "select c.relname::text, c.relrowsecurity,
               array(select format('%s %s %s', p.polcmd, p.polpermissive,
                   array(select pg_get_userbyid(r)::text from unnest(p.polroles) r)) from pg_policy p where p.polrelid = c.oid),
               array(select format('%s %s', pg_get_userbyid(a.grantee), a.privilege_type)
                 from aclexplode(c.relacl) a where a.grantee <> c.relowner order by 1),
               exists (select from pg_attribute a where a.attrelid = c.oid and a.attacl is not null)
             from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')",
            &[],
        )
        .await
        .unwrap();
    let mut cells = Cells::default();
    for row in &rows {
        let (name, secured, policies): (String, bool, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        let (grants, by_column): (Vec<String>, bool) = (row.get(3), row.get(4));
        cells.check(secured, || format!("{name}: row level security is off"));
        cells.equal(&policies, &vec!["r t {authenticated}".to_owned()], || {
            format!("{name}: policies")
        });
        let wanted = [
            "authenticated SELECT",
            "service_role DELETE",
            "service_role SELECT",
        ]
        .map(str::to_owned)
        .to_vec();
        cells.equal(&grants, &wanted, || format!("{name}: grants"));
        cells.check(!by_column, || {
            format!("{name}: a column has grants of its own")
        });
    }
    cells.judge(4 * TABLES.len());
}

#[tokio::test]
async fn triggers_that_guard_what_is_committed_are_on() {
    let (_project, client) = client().await;
    let rows = client
        .query(
            "select tgname::text, tgenabled::text from pg_trigger where not tgisinternal",
            &[],
        )
        .await
        .unwrap();
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let wanted = ["refuse_committed_body", "refuse_committed_chunk"];
    assert_eq!(
        found,
        wanted.map(|name| (name.to_owned(), "O".to_owned())).into()
    );
}

/// Not with the rights of a user, nor with those of the service.
#[tokio::test]
async fn helpers_are_called_by_nobody() {
    let (_project, client) = client().await;
    let helpers = client
        .query(
            "select p.oid::regprocedure::text, array(select format_type(t, null) from unnest(p.proargtypes::oid[]) t),
               p.prorettype = 'trigger'::regtype
             from pg_proc p where p.pronamespace = 'bus_internal'::regnamespace",
            &[],
        )
        .await
        .unwrap();
    let mut cells = Cells::default();
    for who in crate::who::EVERYBODY {
        for row in &helpers {
            let (signature, types): (String, Vec<String>) = (row.get(0), row.get(1));
            let name = signature.split('(').next().unwrap();
            let arguments: Vec<String> = types.iter().map(|kind| format!("null::{kind}")).collect();
            let call = format!("select {name}({})", arguments.join(", "));
            let answer = direct_sql(&client, &become_sql(who), &call, false).await;
            cells.equal(&answer.word().as_str(), &"42501", || {
                format!("{who:?} {signature}: {}", answer.body)
            });
        }
    }
    cells.judge(100);
}

/// Whoever signs in through the REST server is one of the three; who may become somebody else is not.
#[tokio::test]
async fn no_caller_becomes_another_role() {
    let (_project, client) = client().await;
    let mut cells = Cells::default();
    for who in [Who::Anon, Who::User("alice"), Who::Service] {
        for role in [
            "postgres",
            "service_role",
            "authenticated",
            "anon",
            "authenticator",
        ] {
            // As PostgREST does: the session is authenticator's.
            let setup = format!("set local session authorization {};", who.role());
            let answer = direct_sql(&client, &setup, &format!("set role {role}"), false).await;
            let allowed = role == who.role();
            cells.equal(&(answer.status == "200"), &allowed, || {
                format!("{who:?} set role {role}: {}", answer.body)
            });
        }
    }
    cells.judge(15);
}
