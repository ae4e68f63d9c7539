//! How a connection is made, and what is said where it cannot be.

use std::{fs, net::TcpListener, path::Path, process::Command};

use bus_migrations::{Database, DatabaseUrl, MigrateError, MigrateErrorKind};
use bus_testkit::{Postgres, free_port};
use rstest::rstest;

use crate::support::{server, url};

async fn failure(address: &str) -> MigrateError {
    match Database::connect(&url(address)).await {
        Ok(_) => panic!("connected to {address}"),
        Err(error) => error,
    }
}

#[rstest]
#[case("mysql://root@localhost/app", "postgresql://")]
#[case("postgresql://postgres:[YOUR-PASSWORD]@h:5432/app", "[YOUR-PASSWORD]")]
#[case("postgresql://postgres:se@cret@h/app", "%40")]
#[case("postgresql://postgres:se?cret@h/app", "%3F")]
#[case("postgresql://postgres:secret@h:port/app", "cannot be read")]
#[case("postgresql:///app", "no host")]
#[case(
    "postgresql://postgres:secret@h/app?sslmode=maybe",
    "sslmode is none of"
)]
#[case(
    "postgresql://postgres:secret@h/app?sslmode=verify-ca",
    "needs sslrootcert"
)]
#[case("postgresql://postgres:secret@h/app?gssencmode=secret", "is not known")]
fn a_url_that_is_not_legal_says_why_and_shows_no_secret(#[case] text: &str, #[case] word: &str) {
    let error = text.parse::<DatabaseUrl>().unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::Settings);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(word), "{shown}");
    assert!(!shown.contains("cret"), "{shown}");
}

#[rstest]
#[case("postgresql://a:se%40cret@db.example:6543/app?pgbouncer=true", true)]
#[case("postgresql://a:secret@db.example/app?sslmode=prefer", true)]
#[case("postgresql://a:secret@db.example/app?sslmode=verify-full", false)]
#[case("postgresql://a:secret@db.example/app?sslrootcert=system", false)]
#[case("postgresql://a:secret@127.0.0.1/app", false)]
#[case("postgresql://a:secret@localhost/app?hostaddr=192.0.2.1", true)]
#[case("postgresql://a:secret@db.example/app?hostaddr=127.0.0.1", false)]
fn a_url_shows_where_and_who_but_no_password(#[case] text: &str, #[case] unchecked: bool) {
    let url = text.parse::<DatabaseUrl>().unwrap();
    assert_eq!((url.user(), url.is_unchecked()), ("a", unchecked));
    let shown = format!("{url} {url:?}");
    assert!(shown.contains("/app") && !shown.contains("cret"), "{shown}");
}

#[tokio::test]
async fn nobody_there_is_to_be_tried_again() {
    let port = free_port().unwrap();
    let error = failure(&format!(
        "postgresql://postgres:hidden@127.0.0.1:{port}/app"
    ))
    .await;
    assert_eq!(error.kind(), MigrateErrorKind::TryAgain);
    assert!(
        error
            .to_string()
            .starts_with(&format!("127.0.0.1:{port}/app cannot be reached")),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_to_be_tried_again() {
    let error = failure("postgresql://postgres:hidden@no-such-host.invalid/app").await;
    assert!(matches!(error, MigrateError::Unreachable { .. }), "{error}");
}

/// A port that is open, but answers nothing.
#[tokio::test(start_paused = true)]
async fn somebody_who_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = failure(&format!(
        "postgresql://postgres@{}/app",
        listener.local_addr().unwrap()
    ))
    .await;
    assert_eq!(error.kind(), MigrateErrorKind::TryAgain);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let postgres = server(15).await;
    let error = failure(&postgres.url("elsewhere")).await;
    assert!(matches!(error, MigrateError::NoDatabase { .. }), "{error}");
}

/// A server that asks for passwords and, once its certificate is in its folder, offers TLS.
async fn guarded() -> Postgres {
    let postgres = server(15).await;
    postgres
        .sql(
            "postgres",
            "create role keeper login superuser password 'right'",
        )
        .await
        .unwrap();
    postgres
        .sql("postgres", "copy (select 'host all all all scram-sha-256') to program 'cat > pg_hba.conf'; select pg_reload_conf()")
        .await
        .unwrap();
    postgres
}

fn keeper(postgres: &Postgres, password: &str, options: &str) -> String {
    postgres
        .url("app")
        .replace("//postgres@", &format!("//keeper:{password}@"))
        + options
}

#[tokio::test]
async fn a_wrong_password_is_denied_without_being_shown() {
    let postgres = guarded().await;
    Database::connect(&url(&keeper(&postgres, "right", "")))
        .await
        .unwrap();
    for address in [
        keeper(&postgres, "wr0ng", ""),
        keeper(&postgres, "wr0ng", "").replace("keeper", "nobody"),
    ] {
        let error = failure(&address).await;
        assert_eq!(error.kind(), MigrateErrorKind::NotAuthorised);
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("password") && !shown.contains("wr0ng"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_password_that_is_missing_is_denied() {
    let postgres = guarded().await;
    let error = failure(&postgres.url("app")).await;
    assert!(error.to_string().contains("the URL holds none"), "{error}");
    assert_eq!(error.kind(), MigrateErrorKind::NotAuthorised);
}

/// An authority, and a certificate of it for `name`, in `folder`.
fn certificates(folder: &Path, name: &str) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output();
        let output = output.expect("openssl is needed: apt-get install openssl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
    ));
    openssl(&format!(
        "req -x509 {key} -keyout other.key -out other.pem -days 2 -subj /CN=other"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN={name}"
    ));
    let kind = if name.parse::<std::net::IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    fs::write(
        folder.join("names"),
        format!("subjectAltName={kind}:{name}\nbasicConstraints=CA:FALSE\n"),
    )
    .unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
}

/// Turns TLS on, with a certificate for `name`; the files reach the server by its own hands, since it may run as
/// another user.
async fn with_tls(folder: &Path, name: &str) -> Postgres {
    certificates(folder, name);
    let postgres = server(15).await;
    for file in ["server.crt", "server.key"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let lines: Vec<String> = text.lines().map(|line| format!("('{line}')")).collect();
        let sql = format!(
            "copy (values {}) to program 'umask 077; cat > {file}'",
            lines.join(",")
        );
        postgres.sql("postgres", &sql).await.unwrap();
    }
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute("alter system set ssl = on")
        .await
        .unwrap();
    client
        .batch_execute("select pg_reload_conf()")
        .await
        .unwrap();
    let hba = "copy (values ('hostssl all all all trust'), ('hostnossl all postgres all trust')) to program 'cat > pg_hba.conf'; create role secure login superuser; select pg_reload_conf()";
    client.batch_execute(hba).await.unwrap();
    // Whoever is logged in by TLS knows that the server has read its files again.
    let address = postgres.url("app").replace("//postgres@", "//secure@");
    for _ in 0..100 {
        if Database::connect(&url(&format!("{address}?sslmode=require")))
            .await
            .is_ok()
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    postgres
}

#[tokio::test]
async fn every_mode_of_tls_trusts_as_far_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = with_tls(folder.path(), "127.0.0.1").await;
    let address = postgres.url("app").replace("//postgres@", "//secure@");
    let ca = folder.path().join("ca.pem").display().to_string();
    let other = folder.path().join("other.pem").display().to_string();
    for (options, fine) in [
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&sslrootcert={ca}"), true),
        (format!("sslmode=require&sslrootcert={other}"), false),
        (format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        (format!("sslmode=verify-ca&sslrootcert={other}"), false),
        (format!("sslmode=verify-full&sslrootcert={ca}"), true),
        (format!("sslmode=verify-full&sslrootcert={other}"), false),
        (format!("sslrootcert={ca}"), true),
        // The system does not know our authority.
        ("sslmode=verify-full".to_owned(), false),
        ("sslmode=verify-full&sslrootcert=system".to_owned(), false),
        // Only encrypted connections may log in as this user.
        ("sslmode=disable".to_owned(), false),
    ] {
        let connected = Database::connect(&url(&format!("{address}?{options}"))).await;
        assert_eq!(connected.is_ok(), fine, "{options}: {:?}", connected.err());
        if let Err(error) = connected {
            assert_eq!(
                error.kind(),
                MigrateErrorKind::NotAuthorised,
                "{options}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_by_verify_full_only() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = with_tls(folder.path(), "db.example").await;
    let address = postgres.url("app").replace("//postgres@", "//secure@");
    let ca = folder.path().join("ca.pem").display().to_string();
    Database::connect(&url(&format!(
        "{address}?sslmode=verify-ca&sslrootcert={ca}"
    )))
    .await
    .unwrap();
    let error = failure(&format!("{address}?sslmode=verify-full&sslrootcert={ca}")).await;
    assert!(matches!(error, MigrateError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let postgres = server(15).await;
    let error = failure(&(postgres.url("app") + "?sslmode=require")).await;
    assert!(matches!(error, MigrateError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("sslmode=disable"), "{error}");
}

#[rstest]
#[case("/nowhere/ca.pem", "No such file")]
#[case("Cargo.toml", "it holds none")]
#[tokio::test]
async fn a_file_without_certificates_is_named(#[case] path: &str, #[case] word: &str) {
    let error = failure(&format!(
        "postgresql://a@127.0.0.1:1/app?sslrootcert={path}"
    ))
    .await;
    assert_eq!(error.kind(), MigrateErrorKind::Settings);
    let shown = error.to_string();
    assert!(shown.contains(path) && shown.contains(word), "{shown}");
}
