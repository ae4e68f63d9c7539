//! The lines about the embedded store: its folder, its disk, its content, and who shares it.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bus_client::MessageBusClient;
use bus_model::{ByteSize, MessageStatus, Principal};
use bus_store::{ListQuery, Store, StoreError, StoreErrorKind};
use chrono::{TimeDelta, Utc};
use tokio::task::spawn_blocking;

use crate::{
    commands::doctor::{
        line::Line,
        round_trip,
        tools::{self, ToolCount},
    },
    exit::{Exit, exit_of},
    output::with_causes,
};

/// Below this a disk is nearly full.
const LITTLE_SPACE: u64 = 1 << 30;
/// The most records that are looked at for what tools did.
const MOST_RECORDS: usize = 20_000;
/// How long that may take.
const MOST_TIME: Duration = Duration::from_secs(3);

/// What is looked at before the store is opened. Opening it makes the folder.
pub(super) async fn before(dir: &Path, max_payload: u64) -> Vec<Line> {
    let dir = dir.to_owned();
    let looked =
        spawn_blocking(move || vec![folder(&dir), space(&dir, max_payload), kind_of_disk(&dir)]);
    looked.await.unwrap_or_default()
}

/// What an open store says.
pub(super) async fn inside(
    client: &MessageBusClient,
    quick: bool,
) -> (Option<Arc<dyn Store>>, Vec<Line>) {
    let opened = async {
        let store = client.store().await?;
        store.check().await?;
        anyhow::Ok(store)
    };
    match opened.await {
        Ok(store) => {
            let mut lines = vec![Line::ok(
                "store opens",
                "it can be read and written, and its format is known",
            )];
            lines.push(structure(store.as_ref(), quick).await);
            (Some(store), lines)
        }
        Err(error) => (None, vec![does_not_open(&error)]),
    }
}

/// What is in the store and who uses it; after the round trips.
pub(super) async fn content(store: &dyn Store, dir: &Path) -> Vec<Line> {
    let dir = dir.to_owned();
    let neighbours = spawn_blocking(move || neighbours(&dir)).await;
    vec![
        messages(store).await,
        tools_line(store).await,
        neighbours.unwrap_or_else(|_| Line::skipped("shared with", "looking was cut off")),
    ]
}

/// The lines that need an open store, where there is none.
pub(super) fn unopened(why: &str) -> Vec<Line> {
    let mut lines = vec![Line::skipped("structure", why)];
    lines.extend(round_trip::skipped(why));
    lines.extend(["messages", tools::NAME, "shared with"].map(|name| Line::skipped(name, why)));
    lines
}

fn folder(dir: &Path) -> Line {
    const NAME: &str = "folder";
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => Line::ok(NAME, shown.to_string()),
        Ok(_) => Line::failure(NAME, format!("{shown} is not a folder"))
            .advice("set BUS_STORE_DIR or --store embedded:DIR to a folder")
            .exit(Exit::Usage),
        Err(error) if error.kind() == ErrorKind::NotFound => Line::ok(
            NAME,
            format!("{shown} is not there yet; it is made on first use"),
        ),
        Err(error) => Line::failure(NAME, format!("{shown} cannot be looked at: {error}"))
            .advice("let this user reach it, or choose another with BUS_STORE_DIR")
            .exit(Exit::NotAuthorised),
    }
}

/// The folder, or the nearest one above it that is there.
fn nearest(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let there = dir.ancestors().find(|path| path.exists());
    there.map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

fn space(dir: &Path, max_payload: u64) -> Line {
    const NAME: &str = "free space";
    match rustix::fs::statvfs(nearest(dir)) {
        Ok(disk) => judge_space(disk.f_bavail.saturating_mul(disk.f_frsize), max_payload),
        Err(error) => Line::skipped(NAME, format!("the system does not say ({error})")),
    }
}

fn judge_space(free: u64, max_payload: u64) -> Line {
    const NAME: &str = "free space";
    let shown = size(free);
    if free < max_payload {
        Line::failure(
            NAME,
            format!("{shown}: less than one payload of MESSAGE_BUS_MAX_PAYLOAD_MB"),
        )
        .advice("free some space, run bus purge, or move the store with BUS_STORE_DIR")
    } else if free < LITTLE_SPACE {
        Line::warning(NAME, format!("{shown} are left"))
            .advice("free some space, run bus purge, or move the store with BUS_STORE_DIR")
    } else {
        Line::ok(NAME, shown)
    }
}

fn kind_of_disk(dir: &Path) -> Line {
    const NAME: &str = "file system";
    #[cfg(target_os = "linux")]
    {
        match rustix::fs::statfs(nearest(dir)) {
            Ok(disk) => judge_disk(u64::try_from(disk.f_type).unwrap_or_default()),
            Err(error) => Line::skipped(NAME, format!("the system does not say ({error})")),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        Line::skipped(NAME, "only known on Linux")
    }
}

#[cfg(target_os = "linux")]
fn judge_disk(magic: u64) -> Line {
    const NAME: &str = "file system";
    let network = match magic & 0xFFFF_FFFF {
        0x6969 => Some("NFS"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        _ => None,
    };
    match network {
        Some(network) => Line::failure(
            NAME,
            format!("the folder is on {network}, a file system across a network"),
        )
        .detail("locks and shared memory do not work there: two processes can damage the store")
        .advice("set BUS_STORE_DIR to a folder on a local disk, or use Supabase"),
        None => Line::ok(NAME, "local"),
    }
}

fn does_not_open(error: &anyhow::Error) -> Line {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<StoreError>())
        .map(StoreError::kind);
    let line = Line::failure("store opens", with_causes(error.as_ref())).exit(exit_of(error));
    match kind {
        Some(StoreErrorKind::Denied) => {
            line.advice("let this user write the folder, or choose another with BUS_STORE_DIR")
        }
        Some(StoreErrorKind::NewerFormat) => line.advice("update bus on this machine"),
        Some(StoreErrorKind::Damaged) => line.advice(
            "keep a copy of the folder, then run bus verify; what is whole can still be read",
        ),
        _ => line,
    }
}

async fn structure(store: &dyn Store, quick: bool) -> Line {
    const NAME: &str = "structure";
    if quick {
        return Line::skipped(NAME, "--quick leaves it out");
    }
    match store.inspect().await {
        Ok(found) if found.is_empty() => Line::ok(
            NAME,
            "index and folder agree; bus verify reads the bodies, too",
        ),
        Ok(found) => Line::failure(
            NAME,
            format!("{} things are not as they should be", found.len()),
        )
        .details(found)
        .advice("bus verify says which messages are damaged")
        .exit(Exit::Mismatch),
        Err(error) => Line::failure(NAME, with_causes(&error)).exit(exit_of(&error.into())),
    }
}

async fn messages(store: &dyn Store) -> Line {
    const NAME: &str = "messages";
    match store.stats().await {
        Ok(stats) => {
            let summary = format!(
                "{} complete, {} pending, {} given up, {} expired and not purged; {} stored",
                stats.complete,
                stats.pending,
                stats.error,
                stats.expired,
                size(stats.stored_bytes)
            );
            let waiting = stats.expired + stats.error;
            if waiting > stats.complete.max(1000) {
                Line::warning(NAME, summary).advice(
                    "run bus purge, or keep bus serve running, which does it (BUS_PURGE_SECS)",
                )
            } else {
                Line::ok(NAME, summary)
            }
        }
        Err(error) => Line::failure(NAME, with_causes(&error)).exit(exit_of(&error.into())),
    }
}

async fn tools_line(store: &dyn Store) -> Line {
    match count_tools(store).await {
        Ok((counts, all)) => tools::line(&counts, all),
        Err(error) => Line::skipped(tools::NAME, with_causes(&error)),
    }
}

/// What each tool published in the last 24 hours, and whether all was looked at.
async fn count_tools(store: &dyn Store) -> Result<(Vec<ToolCount>, bool), StoreError> {
    let began = Instant::now();
    let mut counts: BTreeMap<String, ToolCount> = BTreeMap::new();
    let mut seen = 0;
    let mut query = ListQuery {
        status: None,
        created_from: Some(Utc::now() - TimeDelta::hours(24)),
        limit: 500,
        ..ListQuery::new(Principal::default())
    };
    loop {
        let page = store.list(&query).await?;
        seen += page.records.len();
        for record in &page.records {
            if !matches!(
                record.status,
                MessageStatus::Complete | MessageStatus::Expired
            ) {
                continue;
            }
            let tool = record.tool_name.to_string();
            let count = counts
                .entry(tool.clone())
                .or_insert_with(|| ToolCount::new(tool));
            count.messages += 1;
            count.bytes += record.payload_size_bytes;
            count.stored_bytes += record.compressed_size_bytes.unwrap_or_default();
        }
        match page.next {
            Some(cursor) if seen < MOST_RECORDS && began.elapsed() < MOST_TIME => {
                query.after = Some(cursor);
            }
            next => return Ok((counts.into_values().collect(), next.is_none())),
        }
    }
}

/// Other processes of this user that have a file of the store open.
fn neighbours(dir: &Path) -> Line {
    const NAME: &str = "shared with";
    let Ok(dir) = dir.canonicalize() else {
        return Line::skipped(NAME, "the folder is not there");
    };
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Line::skipped(NAME, "this system has no /proc");
    };
    let own = std::process::id();
    let mut found: Vec<(u32, String)> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && uses(*pid, &dir))
        .map(|pid| (pid, name_of(pid)))
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Line::ok(NAME, "no other process of this user"),
        found => {
            let shown = found
                .iter()
                .map(|(pid, name)| format!("process {pid} ({name})"));
            Line::ok(NAME, shown.collect::<Vec<_>>().join(", "))
        }
    }
}

fn uses(pid: u32, dir: &Path) -> bool {
    // What belongs to others is not told, and a process may end meanwhile.
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let targets = files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.into_iter().any(|target| target.starts_with(dir))
}

fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().chars().filter(|c| !c.is_control()).collect()
}

fn size(bytes: u64) -> String {
    ByteSize::new(bytes).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::commands::doctor::line::Status;

    #[rstest]
    #[case(10, 100, Status::Failure)]
    #[case(100 << 20, 100 << 20, Status::Warning)]
    #[case(2 << 30, 100 << 20, Status::Ok)]
    fn space_is_judged_by_the_largest_payload(
        #[case] free: u64,
        #[case] most: u64,
        #[case] status: Status,
    ) {
        assert_eq!(judge_space(free, most).status, status);
    }

    #[cfg(target_os = "linux")]
    #[rstest]
    #[case(0xEF53, Status::Ok)]
    #[case(0x0102_1994, Status::Ok)]
    #[case(0x6969, Status::Failure)]
    #[case(0xFF53_4D42, Status::Failure)]
    fn a_disk_across_a_network_is_told(#[case] magic: u64, #[case] status: Status) {
        assert_eq!(judge_disk(magic).status, status);
    }

    #[test]
    fn the_nearest_folder_of_one_that_is_not_there_is_above_it() {
        assert_eq!(nearest(Path::new("/proc/none/such")), Path::new("/proc"));
    }
}
