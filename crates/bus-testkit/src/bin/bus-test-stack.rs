//! Starts and ends the servers that tests share, and a whole project for a developer. `cargo xtask` runs it.

#![expect(clippy::print_stdout, reason = "this program talks to a person")]

use anyhow::{Context, Result, bail};
use bus_testkit::{Project, Server, stack_status, start_stack, stop_stack};
use std::io::Read;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: bus-test-stack start              start what tests share; prints its folder
       bus-test-stack stop [--anyway]    end it, unless it is in use
       bus-test-stack status             what runs
       bus-test-stack hold SERVER        take a project as a test does, until standard input ends
       bus-test-stack up [SERVER [PORT]] a project in the foreground; SERVER is postrust or lite";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["start"] => start().await,
        ["stop"] => stop(false).await,
        ["stop", "--anyway"] => stop(true).await,
        ["status"] => {
            println!("{}", stack_status()?.join("\n"));
            Ok(())
        }
        ["hold", server] => hold(named(server)?).await,
        ["up"] => up(Server::Postrust, 0).await,
        ["up", server] => up(named(server)?, 0).await,
        ["up", server, port] => up(named(server)?, port.parse().context("reading the port")?).await,
        _ => bail!("{USAGE}"),
    }
}

fn named(name: &str) -> Result<Server> {
    let server = Server::ALL.into_iter().find(|server| server.name() == name);
    server.with_context(|| format!("{name} is neither postrust nor lite"))
}

/// Tries one slot of each server: whatever is not installed shows here, once, and not in every test.
async fn start() -> Result<()> {
    let folder = start_stack().await?;
    tokio::try_join!(Project::take(Server::Postrust), Project::take(Server::Lite))?;
    println!("{}", folder.display());
    Ok(())
}

async fn stop(anyway: bool) -> Result<()> {
    if stop_stack(anyway).await? {
        println!("stopped");
    } else {
        println!("left running: it is in use (stop --anyway ends it all the same)");
    }
    Ok(())
}

async fn hold(server: Server) -> Result<()> {
    let project = Project::take(server).await?;
    println!("{}", project.database());
    let mut rest = String::new();
    std::io::stdin().read_to_string(&mut rest)?;
    Ok(())
}

async fn up(server: Server, port: u16) -> Result<()> {
    // Before anybody knows that we run: from then on the end must be an orderly one.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let project = Project::own_at(server, port).await?;
    println!(
        "# {}, until Ctrl-C; then its data is gone. For .env:",
        server.name()
    );
    println!("MESSAGE_BUS_ENABLED=true");
    println!("SUPABASE_URL={}", project.url());
    println!("SUPABASE_KEY={}", project.secret_key());
    println!("# As the user ada in place of the service role (valid for an hour):");
    println!("# SUPABASE_KEY={}", project.user_jwt("ada"));
    println!("# The database, for psql:");
    println!("# {}", project.database_url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("stopping");
    Ok(())
}
