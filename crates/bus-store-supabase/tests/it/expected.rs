//! The inventory that `bus doctor` compares with is the one of the migrations as they are now.

use std::{fs, path::Path, time::Duration};

use bus_store_supabase::{
    SCHEMA_VERSION, SupabaseConfig, SupabaseStore,
    diagnose::{Expected, compare},
};
use bus_testkit::{Project, Server};
use secrecy::SecretString;

/// Set, the file is written anew.
const REWRITE: &str = "BUS_REWRITE_EXPECTED";

#[tokio::test]
async fn the_expected_inventory_is_that_of_the_migrations() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let key = SecretString::from(project.secret_key());
    let config = SupabaseConfig::new(project.url(), &key).unwrap();
    let store = SupabaseStore::new(config).unwrap();
    let found = store.diagnose(None, Duration::ZERO).await.unwrap();
    let made = Expected {
        schema_version: found.schema_version.unwrap(),
        inventory: found.inventory.unwrap().found().unwrap().clone(),
    };
    if std::env::var_os(REWRITE).is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnose/expected.json");
        let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
        fs::write(path, text).unwrap();
        return;
    }
    let expected = Expected::of_this_build().unwrap();
    let differences = compare(&expected.inventory, &made.inventory);
    assert!(
        differences.is_empty() && *expected == made,
        "src/diagnose/expected.json is not what the migrations make: run cargo xtask migrate schema\n\
         {differences:#?}"
    );
    assert_eq!(made.schema_version, SCHEMA_VERSION);
}
