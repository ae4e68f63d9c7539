//! What a database holds beside what it should hold: a pure comparison, in sentences.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Inventory, repair};

/// How much a difference matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Everything works; somebody should look at it all the same.
    Warning,
    /// Something does not work, or somebody may do what nobody should.
    Failure,
}

/// One object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// How much it matters.
    pub severity: Severity,
    /// `table`, `column`, `index`, `constraint`, `trigger`, `function`, `type`, `role`, `row level security`, `policy`
    /// or `grant`.
    pub kind: String,
    /// Its name, with its schema.
    pub name: String,
    /// What is wrong with it.
    pub sentence: String,
    /// A statement that puts it right; `None` where the step that made it has to run again.
    pub repair: Option<String>,
}

impl Difference {
    /// Whether it is about who may do what, and not about what is there.
    #[must_use]
    pub fn is_about_rights(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "row level security" | "policy" | "grant" | "role"
        )
    }
}

/// Compares what was found with what is expected: failures first, each kind in the order of names.
///
/// What hangs on a table or a function that is missing is passed over: one sentence is enough.
#[must_use]
pub fn compare(expected: &Inventory, found: &Inventory) -> Vec<Difference> {
    let pair = Pair { expected, found };
    let kinds: BTreeSet<&String> = expected.0.keys().chain(found.0.keys()).collect();
    let mut differences = Vec::new();
    for kind in kinds {
        for (name, wanted) in expected.of_kind(kind) {
            match found.get(kind, name) {
                None => differences.extend(pair.missing(kind, name, wanted)),
                Some(held) if held != wanted => differences.push(changed(kind, name, wanted, held)),
                Some(_) => {}
            }
        }
        let extra = found
            .of_kind(kind)
            .filter(|(name, _)| expected.get(kind, name).is_none());
        differences.extend(extra.filter_map(|(name, held)| pair.extra(kind, name, held)));
    }
    differences.sort_by_key(|difference| std::cmp::Reverse(difference.severity));
    differences
}

struct Pair<'a> {
    expected: &'a Inventory,
    found: &'a Inventory,
}

impl Pair<'_> {
    fn missing(&self, kind: &str, name: &str, wanted: &str) -> Option<Difference> {
        let owner = owner_of(kind, name, wanted);
        if owner.is_some_and(|(kind, name)| self.found.get(kind, &name).is_none()) {
            return None;
        }
        // Without an index everything works, slower.
        let severity = match kind {
            "index" => Severity::Warning,
            _ => Severity::Failure,
        };
        let sentence = match (kind, name.split_once(" to ")) {
            ("grant", Some((object, role))) => format!("{role} lacks {wanted} on the {object}"),
            _ => format!("the {kind} {name} is missing"),
        };
        let repair = repair::missing(kind, name, wanted);
        Some(difference(severity, kind, name, sentence, repair))
    }

    fn extra(&self, kind: &str, name: &str, held: &str) -> Option<Difference> {
        if kind == "grant" {
            return self.extra_grant(name, held);
        }
        let (severity, why) = match kind {
            "table" | "row level security" | "role" => return None,
            "policy" if held.starts_with("permissive") => (
                Severity::Failure,
                "lets somebody see or change more than bus wants",
            ),
            "column" if held.contains("not null") && !held.contains("default") => {
                (Severity::Failure, "refuses every message that bus writes")
            }
            "function" if self.has_namesake(name) => (
                Severity::Failure,
                "makes calls of the function of that name ambiguous",
            ),
            "constraint" | "trigger" => (Severity::Warning, "may refuse or change what bus writes"),
            _ => (Severity::Warning, "is none of bus"),
        };
        let sentence = format!("the {kind} {name} {why}");
        Some(difference(
            severity,
            kind,
            name,
            sentence,
            repair::extra(kind, name),
        ))
    }

    /// A function of ours in `public` under the same name, with other arguments.
    fn has_namesake(&self, name: &str) -> bool {
        let bare = |name: &str| name.split('(').next().map(str::to_owned);
        name.starts_with("public.")
            && self
                .expected
                .of_kind("function")
                .any(|(ours, _)| bare(ours) == bare(name))
    }

    fn extra_grant(&self, name: &str, held: &str) -> Option<Difference> {
        // What belongs to a function that is none of ours is its owner's affair.
        let (kind, object) = owner_of("grant", name, held)?;
        let ours = kind == "schema" || self.expected.get(kind, &object).is_some();
        ours.then(|| too_wide(name, held))
    }
}

fn changed(kind: &str, name: &str, wanted: &str, held: &str) -> Difference {
    if kind == "grant" {
        let (wanted_set, held_set) = (privileges(wanted), privileges(held));
        let more: Vec<&str> = held_set.difference(&wanted_set).copied().collect();
        if !more.is_empty() {
            return too_wide(name, &more.join(", "));
        }
        let less: Vec<&str> = wanted_set.difference(&held_set).copied().collect();
        let (object, role) = name.split_once(" to ").unwrap_or((name, "somebody"));
        let sentence = format!("{role} lacks {} on the {object}", less.join(", "));
        let repair = repair::missing(kind, name, &less.join(", "));
        return difference(Severity::Failure, kind, name, sentence, repair);
    }
    let severity = match kind {
        "index" => Severity::Warning,
        _ => Severity::Failure,
    };
    let sentence = match kind {
        "row level security" => format!("row level security of {name} is {held}, not {wanted}"),
        "role" => format!("the role {name} {held}; it {wanted} where all is well"),
        "function" => format!(
            "the function {name} is not the one of this build: {}",
            function_parts(wanted, held)
        ),
        _ => format!("the {kind} {name} is {held:?}, not {wanted:?}"),
    };
    let repair = repair::changed(kind, name, wanted);
    difference(severity, kind, name, sentence, repair)
}

fn too_wide(name: &str, privileges: &str) -> Difference {
    let (object, role) = name.split_once(" to ").unwrap_or((name, "somebody"));
    // The service role sees everything as it is.
    let (severity, who) = match role {
        "service_role" => (
            Severity::Warning,
            "service_role, which should write through functions only,",
        ),
        "public" => (Severity::Failure, "everybody (public)"),
        "anon" => (Severity::Failure, "anon, whose key is no secret,"),
        role => (Severity::Failure, role),
    };
    let sentence = format!("{who} may {privileges} on the {object}");
    difference(
        severity,
        "grant",
        name,
        sentence,
        repair::grant_too_wide(object, role, privileges),
    )
}

/// What of a function differs. A definition ends with the digest of its body.
fn function_parts(wanted: &str, held: &str) -> &'static str {
    let cut = |text: &'_ str| text.rsplit_once(" body ").map(|(head, _)| head.to_owned());
    let secure = |text: &str| text.contains("security definer");
    let settings = |text: &str| {
        text.split_once(" settings ")
            .and_then(|(_, rest)| rest.split(" body ").next().map(str::to_owned))
    };
    if secure(wanted) != secure(held) {
        "it does not run with the rights that it should"
    } else if settings(wanted) != settings(held) {
        "its settings, such as a pinned search_path, differ"
    } else if cut(wanted) == cut(held) {
        "its body differs"
    } else {
        "its declaration differs"
    }
}

fn privileges(text: &str) -> BTreeSet<&str> {
    text.split(", ").collect()
}

/// The table, function or schema that an object hangs on.
fn owner_of(kind: &str, name: &str, definition: &str) -> Option<(&'static str, String)> {
    let table_of = |name: &str| {
        let mut parts = name.split('.');
        Some(("table", format!("{}.{}", parts.next()?, parts.next()?)))
    };
    match kind {
        "column" | "constraint" | "trigger" | "policy" | "row level security" => table_of(name),
        "index" => {
            let (_, rest) = definition.split_once(" ON ")?;
            table_of(rest.split(' ').next()?)
        }
        "grant" => {
            let (object, _) = name.rsplit_once(" to ")?;
            match object.split_once(' ')? {
                ("function", signature) => Some(("function", signature.to_owned())),
                ("schema", schema) => Some(("schema", schema.to_owned())),
                (_, table) => table_of(table),
            }
        }
        _ => None,
    }
}

fn difference(
    severity: Severity,
    kind: &str,
    name: &str,
    sentence: String,
    repair: Option<String>,
) -> Difference {
    Difference {
        severity,
        kind: kind.to_owned(),
        name: name.to_owned(),
        sentence,
        repair,
    }
}
