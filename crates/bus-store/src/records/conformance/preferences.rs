//! User preferences.

use bus_model::Principal;
use futures::future::join_all;

use super::{
    RecordsHarness,
    support::{about_now, name, other_process, principal, refused, value},
};
use crate::{
    StoreErrorKind,
    records::{
        MAX_PREFERENCE_BYTES, MAX_PREFERENCE_PAGE, PreferenceQuery, PreferencesExt as _, TIMEZONE,
        Timezone,
    },
};

const ZONE: &str = "\"Europe/Berlin\"";

/// What is not set is not found.
pub async fn what_is_not_set_is_not_found(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    let missing = StoreErrorKind::NotFound;
    refused(prefs.get(&me, &name("theme")).await, missing);
    refused(prefs.delete(&me, &name("theme")).await, missing);
    assert_eq!(prefs.timezone(&me).await.expect("timezone"), None);
    let page = prefs.list(&PreferenceQuery::new(me)).await.expect("list");
    assert_eq!((page.preferences.len(), page.next), (0, None));
}

/// A value comes back exactly as it was written.
pub async fn a_value_comes_back_exactly(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    let written = [
        "null",
        "true",
        "\"dark\"",
        "\"\"",
        "1.0",
        "1e400",
        "9223372036854775808",
        "-0",
        "{}",
        "[ 1 ,2 ]",
        "{\"b\":1, \"a\":2,\"b\":3}",
        "\"\\u0000\"",
        "{\"\\u0000\":[\"\\ud800\",\"\\u00e4\",\"ä\",\"\\/\"]}",
        "\n\t{ \"a\" : 1 }\r\n",
        "\"'; drop table x; --\"",
    ];
    for (n, json) in written.into_iter().enumerate() {
        let name = name(&format!("v{n}"));
        prefs.set(&me, &name, &value(json)).await.expect("set");
        let read = prefs.get(&me, &name).await.expect("get");
        assert_eq!((read.value.as_json(), read.name), (json, name));
        about_now(h, read.updated_at);
    }
}

/// A value of the largest size is taken, in whichever characters.
pub async fn the_largest_value_is_taken(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    for character in ["x", "ä", "\\\\"] {
        let room = (MAX_PREFERENCE_BYTES - 2) / character.len();
        let large = value(&format!("\"{}\"", character.repeat(room)));
        prefs.set(&me, &name("large"), &large).await.expect("set");
        let read = prefs.get(&me, &name("large")).await.expect("get");
        assert!(read.value == large, "{character}");
    }
}

/// The last value stands, and its time is the newer one.
pub async fn the_last_value_stands(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    let first = prefs.set(&me, &name("n"), &value("1")).await.expect("set");
    let other = other_process(h).preferences;
    let second = other.set(&me, &name("n"), &value("2")).await.expect("set");
    assert!(second >= first);
    let read = prefs.get(&me, &name("n")).await.expect("get");
    assert_eq!((read.value.as_json(), read.updated_at), ("2", second));
    let page = prefs.list(&PreferenceQuery::new(me)).await.expect("list");
    assert_eq!(page.preferences, [read]);
}

/// A deleted preference is gone, and can be set again.
pub async fn a_deleted_preference_is_gone(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    for n in ["n", "nn"] {
        prefs.set(&me, &name(n), &value("1")).await.expect("set");
    }
    prefs.delete(&me, &name("n")).await.expect("delete");
    let missing = StoreErrorKind::NotFound;
    refused(prefs.get(&me, &name("n")).await, missing);
    refused(prefs.delete(&me, &name("n")).await, missing);
    assert!(prefs.get(&me, &name("nn")).await.is_ok());
    prefs.set(&me, &name("n"), &value("2")).await.expect("set");
    let read = prefs.get(&me, &name("n")).await.expect("get");
    assert_eq!(read.value.as_json(), "2");
}

/// Names that differ in case are two.
pub async fn names_that_differ_in_case_are_two(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    for n in ["Theme", "theme", "THEME"] {
        let json = value(&format!("\"{n}\""));
        prefs.set(&me, &name(n), &json).await.expect("set");
    }
    for n in ["Theme", "theme", "THEME"] {
        let read = prefs.get(&me, &name(n)).await.expect("get");
        assert_eq!(read.value.as_json(), format!("\"{n}\""));
    }
}

/// Preferences are listed by name, byte by byte, every one once.
pub async fn preferences_are_listed_by_name(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    let mut names = ["b", "a.b", "Z", "a", "a-b", "a_b", "10", "9", "aa"];
    for n in names {
        prefs.set(&me, &name(n), &value("1")).await.expect("set");
    }
    names.sort_unstable();
    for limit in [1, 2, 8, 9, 10] {
        let mut query = PreferenceQuery {
            limit,
            ..PreferenceQuery::new(me.clone())
        };
        let mut listed = Vec::new();
        loop {
            let page = prefs.list(&query).await.expect("list");
            listed.extend(page.preferences.iter().map(|p| p.name.to_string()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(listed, names, "{limit} a page");
    }
}

/// A page of nothing is refused; one of too many is cut.
pub async fn a_page_of_preferences_has_a_size(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    let sized = |limit| PreferenceQuery {
        limit,
        ..PreferenceQuery::new(Principal::default())
    };
    refused(prefs.list(&sized(0)).await, StoreErrorKind::InvalidInput);
    for n in 0..=MAX_PREFERENCE_PAGE {
        let name = name(&format!("n{n}"));
        prefs.set(&me, &name, &value("1")).await.expect("set");
    }
    let page = prefs.list(&sized(u32::MAX)).await.expect("list");
    assert!(page.preferences.len() <= MAX_PREFERENCE_PAGE as usize && page.next.is_some());
}

/// Each principal has its own.
pub async fn each_principal_has_its_own_preferences(h: &dyn RecordsHarness) {
    let prefs = h.records().preferences;
    let (alice, bob) = (principal("alice"), principal("bob"));
    prefs
        .set(&alice, &name("n"), &value("1"))
        .await
        .expect("set");
    let missing = StoreErrorKind::NotFound;
    refused(prefs.get(&bob, &name("n")).await, missing);
    refused(prefs.delete(&bob, &name("n")).await, missing);
    let bobs = prefs.list(&PreferenceQuery::new(bob.clone())).await;
    assert!(bobs.expect("list").preferences.is_empty());
    prefs.set(&bob, &name("n"), &value("2")).await.expect("set");
    prefs.delete(&bob, &name("n")).await.expect("delete");
    let read = prefs.get(&alice, &name("n")).await.expect("get");
    assert_eq!(read.value.as_json(), "1");
}

/// A timezone is a name of the IANA database; anything else is refused and the last one stands.
pub async fn a_timezone_is_an_iana_name(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    prefs
        .set(&me, &name(TIMEZONE), &value(ZONE))
        .await
        .expect("set");
    for bad in [
        "\"Berlin\"",
        "\"europe/berlin\"",
        "\"UTC+2\"",
        "\"\"",
        "\"Europe/Berlin\\u0000\"",
        "\"\\ud800\"",
        "7",
        "null",
        "[\"UTC\"]",
    ] {
        let set = prefs.set(&me, &name(TIMEZONE), &value(bad)).await;
        refused(set, StoreErrorKind::InvalidInput);
    }
    let read = prefs.get(&me, &name(TIMEZONE)).await.expect("get");
    assert_eq!(read.value.as_json(), ZONE);
}

/// The timezone is there as a type.
pub async fn the_timezone_is_there_as_a_type(h: &dyn RecordsHarness) {
    let (prefs, me) = (h.records().preferences, Principal::default());
    for zone in [
        "UTC",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+12",
        "Asia/Ust-Nera",
    ] {
        let zone: Timezone = zone.parse().expect("an IANA name");
        prefs.set_timezone(&me, zone).await.expect("set_timezone");
        let read = prefs.timezone(&me).await.expect("timezone");
        assert_eq!(read, Some(zone));
    }
}

/// Of several values set at once, one stands.
pub async fn of_several_values_at_once_one_stands(h: &dyn RecordsHarness) {
    let (first, second) = (h.records().preferences, other_process(h).preferences);
    let (me, n) = (Principal::default(), name("n"));
    let values: Vec<_> = (0..8).map(|v| value(&v.to_string())).collect();
    let sets = values.iter().enumerate().map(|(at, value)| {
        let prefs = if at % 2 == 0 { &first } else { &second };
        prefs.set(&me, &n, value)
    });
    for set in join_all(sets).await {
        set.expect("set");
    }
    let read = first.get(&me, &n).await.expect("get");
    assert!(values.contains(&read.value), "{}", read.value);
}
