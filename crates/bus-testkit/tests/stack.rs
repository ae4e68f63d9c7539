//! The stack that tests share: nobody gets what another one holds, and what was left behind is cleared away.
//!
//! Each test has a stack of its own, in a folder of its own, and uses it from processes as tests do.

#![allow(clippy::unwrap_used, reason = "tests")]

use bus_testkit::wait_for;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A stack in a folder of its own, ended on drop.
struct Stack(TempDir);

impl Stack {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bus-test-stack"));
        command.args(arguments).env("BUS_TEST_STACK", self.folder());
        command
    }

    /// What a run that succeeds prints.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A process that has taken a project, and the database it got.
    fn hold(&self) -> (Child, String) {
        let mut command = self.command(&["hold", "postrust"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut database = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut database)
            .unwrap();
        assert!(!database.is_empty(), "no project was taken");
        (child, database)
    }

    /// The processes that it has noted.
    fn processes(&self) -> Vec<u32> {
        let notes = fs::read_dir(self.folder().join("processes")).unwrap();
        let pid = |note: &str| note.split(' ').next().unwrap().parse().unwrap();
        notes
            .map(|note| pid(&fs::read_to_string(note.unwrap().path()).unwrap()))
            .collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.command(&["stop", "--anyway"]).output();
    }
}

/// A zombie has ended, too: in a container nobody may be there to look after it.
fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    assert!(
        Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn two_processes_never_hold_the_same_project() {
    let stack = Stack::new();
    let (mut first, of_first) = stack.hold();
    let (mut second, of_second) = stack.hold();
    assert_ne!(of_first, of_second);
    // Whoever is killed gives back what it held.
    first.kill().unwrap();
    first.wait().unwrap();
    let again = wait_for(
        "the slot of a killed process",
        Duration::from_secs(20),
        || {
            let (mut third, of_third) = stack.hold();
            third.kill().unwrap();
            third.wait().unwrap();
            (of_third == of_first).then_some(of_third)
        },
    );
    assert_eq!(again.unwrap(), of_first);
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn it_is_ended_only_while_nobody_uses_it() {
    let stack = Stack::new();
    let (mut user, _) = stack.hold();
    let processes = stack.processes();
    assert!(stack.run(&["stop"]).contains("in use"));
    assert!(processes.iter().all(|&pid| alive(pid)));
    // The end of its input is the end of the user.
    drop(user.stdin.take());
    user.wait().unwrap();
    assert!(stack.run(&["stop"]).contains("stopped"));
    assert!(!processes.iter().any(|&pid| alive(pid)));
    assert!(stack.run(&["status"]).contains("stopped"));
}

#[test]
fn after_a_crash_it_starts_anew_and_clears_away_what_was_left() {
    let stack = Stack::new();
    let (mut user, _) = stack.hold();
    let before = stack.processes();
    for &pid in &before {
        signal(pid, "KILL");
    }
    user.kill().unwrap();
    user.wait().unwrap();
    // What a killed test with a folder of its own leaves.
    let own = stack.folder().join("own");
    fs::create_dir_all(own.join("1-0")).unwrap();
    fs::write(own.join("1-0.lock"), "").unwrap();

    let (mut user, _) = stack.hold();
    assert!(
        stack
            .processes()
            .iter()
            .all(|&pid| alive(pid) && !before.contains(&pid))
    );
    user.kill().unwrap();
    user.wait().unwrap();
    let mut up = stack.command(&["up", "postrust"]);
    let mut up = up.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(up.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("For .env"), "{line}");
    assert!(!own.join("1-0").exists());
    signal(up.id(), "TERM");
    assert!(up.wait().unwrap().success());
    assert_eq!(
        fs::read_dir(&own).unwrap().count(),
        0,
        "up leaves nothing behind"
    );
}

#[test]
fn what_a_killed_process_started_for_itself_dies_with_it() {
    let stack = Stack::new();
    stack.run(&["start"]);
    let mut up = stack.command(&["up", "postrust"]);
    let mut up = up.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut printed = BufReader::new(up.stdout.take().unwrap());
    printed.read_line(&mut line).unwrap();
    let shared = stack.processes();
    let own = children(up.id());
    assert!(!own.is_empty());
    up.kill().unwrap();
    up.wait().unwrap();
    let gone = || (!own.iter().any(|&pid| alive(pid))).then_some(());
    wait_for("the end of its server", Duration::from_secs(10), gone).unwrap();
    assert!(shared.iter().all(|&pid| alive(pid)), "what is shared stays");
    // Its database goes when somebody makes the next one.
    let mut next = stack
        .command(&["up", "postrust"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(next.stdout.take().unwrap());
    printed.read_line(&mut line).unwrap();
    signal(next.id(), "TERM");
    assert!(next.wait().unwrap().success());
    assert_eq!(fs::read_dir(stack.folder().join("own")).unwrap().count(), 0);
}

/// The processes that a process has started, from any of its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")));
    let lists: Vec<String> = lists.filter_map(Result::ok).collect();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .map(|pid| pid.parse().unwrap())
        .collect()
}

#[test]
fn what_nobody_uses_ends_by_itself() {
    let stack = Stack::new();
    stack.run(&["start"]);
    let processes = stack.processes();
    assert!(
        processes.len() >= 3,
        "PostgreSQL and two servers: {processes:?}"
    );
    // The same script with less patience, in place of the one that runs.
    let script = "echo $$ >\"$0/reaper\"; exec sh \"$0/reaper.sh\" \"$0\" 0 0.2";
    let folder = stack.folder();
    let ended = Command::new("sh")
        .args(["-c", script])
        .arg(folder)
        .status()
        .unwrap();
    assert!(ended.success());
    assert!(!processes.iter().any(|&pid| alive(pid)));
    assert!(!folder.join("data").exists());
}
