//! Clients in several threads change users and groups through server processes that are killed and cut off from their
//! database, while the target fails. Then a checker decides from the answers alone whether some order of the operations
//! explains them, and whether journal, store, index, counts and target agree.
//!
//! `HISTORY_SECONDS` sets how long a run takes (10), `HISTORY_SEED` repeats the choices of the clients,
//! `HISTORY_CLIENTS` sets their number (8).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "helpers of tests; they send requests to servers of their own"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod checker;
mod client;
mod end_state;
mod linear;
mod objects;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Client, History, Kill};
use fixtures::fake_target::{Fault, Rule};
use world::World;

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

#[test]
fn answers_of_one_process_on_sqlite_can_be_explained() {
    run(None, 1);
}

#[test]
fn answers_of_two_processes_on_postgresql_can_be_explained() {
    match fixtures::stores::postgres_url() {
        Some(server) => run(Some(&server), 2),
        None => eprintln!("VESTIBULE_TEST_POSTGRES_URL is not set: nothing was tried"),
    }
}

#[test]
fn every_mutant_fits_the_code() {
    assert!(fixtures::mutants::check("tests/history/mutants.toml") >= 12);
}

fn run(postgres: Option<&str>, processes: usize) {
    let (seconds, seed) = (setting("HISTORY_SECONDS", 10), setting("HISTORY_SEED", 1));
    let mut world = World::start(postgres, processes);
    let urls: Vec<String> = world.servers.iter().map(|server| server.url.clone()).collect();
    let history = History::begin();
    Client::new(&history, urls.clone(), &world.token, seed).create_groups(3);

    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..setting("HISTORY_CLIENTS", 8))
        .map(|number| {
            let mut client = Client::new(&history, urls.clone(), &world.token, seed * 1000 + number + 1);
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.act();
                }
            })
        })
        .collect();
    misbehave(&mut world, &history, seconds as f64, seed);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    Client::new(&history, urls, &world.token, seed).read_all();
    eprintln!("the clients ended after {:.1} s", history.seconds());

    let mut found = history.with(|shared| checker::violations(shared));
    eprintln!("the answers were checked after {:.1} s", history.seconds());
    found.extend(end_state::disagreements(&world));
    let (requests, unanswered, failures) =
        history.with(|shared| (shared.requests, shared.unanswered, shared.failures.len()));
    let cut = world
        .cutter
        .as_ref()
        .map_or(0, |cutter| cutter.commits_cut.load(Ordering::Relaxed));
    eprintln!(
        "{requests} requests, {unanswered} without an answer, of these {failures} server errors; {cut} COMMITs cut"
    );
    if !found.is_empty() {
        let errors: Vec<String> = world.servers.iter().flat_map(world::Server::errors).take(10).collect();
        let folder = world.keep();
        panic!(
            "{} violations; logs in {}:\n{}\nlog: {errors:#?}",
            found.len(),
            folder.display(),
            found.iter().take(12).cloned().collect::<Vec<_>>().join("\n")
        );
    }
}

/// Alternates quiet times with faults until the time is over; the last third of each round is quiet.
fn misbehave(world: &mut World, history: &History, seconds: f64, seed: u64) {
    // PostgreSQL may still carry out what a process sent before it was killed.
    let late: u64 = if world.cutter.is_some() { 5_000_000_000 } else { 0 };
    let mut round = seed;
    while history.seconds() < seconds {
        round += 1;
        std::thread::sleep(Duration::from_millis(2500));
        if history.seconds() >= seconds {
            break;
        }
        let began = history.seconds();
        // What is still open counts as under a fault; the end is set below.
        history.with(|shared| shared.faults.push((began, f64::INFINITY)));
        match (&world.cutter, round % 3) {
            (Some(cutter), 0) => {
                cutter.cut(20);
                std::thread::sleep(Duration::from_millis(1500));
                cutter.cut(0);
            }
            (Some(cutter), 1) => cutter.cut_all(),
            _ => {
                let which = usize::try_from(round).unwrap() % world.servers.len();
                world.servers[which].kill();
                let at = history.now();
                let kill = Kill {
                    process: which,
                    at,
                    end: at + late,
                };
                history.with(|shared| shared.kills.push(kill));
                std::thread::sleep(Duration::from_millis(100));
                world.servers[which].start();
            }
        }
        world.target.with(|state| {
            state.rules.clear();
            for (fault, percent) in [(Fault::Status(500), 10), (Fault::Ate, 10), (Fault::Drop, 5)] {
                state.rules.push(Rule {
                    matches: "P",
                    fault,
                    percent,
                    times: 30,
                });
            }
        });
        let ended = history.seconds();
        history.with(|shared| shared.faults.last_mut().unwrap().1 = ended);
    }
    world.target.with(|state| state.rules.clear());
}
