//! Runs seeds, and shrinks the events of one that breaks a rule.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::event::{Event, story};
use super::fixtures;
use super::logs;
use super::random::Random;
use super::shape::Shape;
use super::simulation::Simulation;

/// Number of events of a seed.
const EVENTS: usize = 150;
/// Longest time to shrink a failure.
const SHRINKING: Duration = Duration::from_mins(2);

/// The result of a run.
struct Outcome {
    /// The first broken rule, and the number of events until then.
    broken: Option<(String, usize)>,
    tally: BTreeMap<String, usize>,
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn http() -> reqwest::blocking::Client {
    let client = reqwest::blocking::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(30)).build().unwrap()
}

fn drawn(seed: u64) -> (Shape, Vec<Event>) {
    let mut random = Random::new(seed);
    let shape = Shape::draw(&mut random);
    let mut events = Vec::new();
    while events.len() < EVENTS {
        match random.below(8) {
            0 => events.extend(story(&mut random)),
            _ => events.push(Event::draw(&mut random)),
        }
    }
    (shape, events)
}

fn run(shape: &Shape, events: &[Event], http: &reqwest::blocking::Client) -> Outcome {
    let mut simulation = Simulation::start(shape.clone(), http.clone());
    for (number, event) in events.iter().enumerate() {
        simulation.happen(*event);
        if let Some(rule) = simulation.broken.first() {
            return Outcome {
                broken: Some((rule.clone(), number + 1)),
                tally: simulation.tally,
            };
        }
    }
    simulation.settle();
    Outcome {
        broken: simulation.broken.first().map(|rule| (rule.clone(), events.len())),
        tally: simulation.tally,
    }
}

/// The name of a rule, without what broke it.
fn rule(text: &str) -> &str {
    text.split(':').next().unwrap_or(text)
}

/// Leaves out events as long as the same rule is broken.
fn shrink(shape: &Shape, mut events: Vec<Event>, broken: &str, http: &reqwest::blocking::Client) -> Vec<Event> {
    let began = Instant::now();
    let limit = setting("SIM_SHRINK").map_or(SHRINKING, Duration::from_secs);
    let mut part = events.len() / 2;
    while part > 0 && began.elapsed() < limit {
        let mut at = 0;
        while at < events.len() && began.elapsed() < limit {
            let mut fewer = events.clone();
            fewer.drain(at..(at + part).min(events.len()));
            match run(shape, &fewer, http).broken {
                Some((found, count)) if rule(&found) == rule(broken) => {
                    fewer.truncate(count);
                    events = fewer;
                }
                _ => at += part,
            }
        }
        part /= 2;
    }
    events
}

fn check(seed: u64, http: &reqwest::blocking::Client, sum: &mut BTreeMap<String, usize>) -> Result<(), String> {
    let (shape, events) = drawn(seed);
    let Outcome { broken, tally } = run(&shape, &events, http);
    for (what, count) in tally {
        *sum.entry(what).or_default() += count;
    }
    let Some((broken, count)) = broken else { return Ok(()) };
    eprintln!("seed {seed} breaks a rule after {count} events: {broken}");
    let events = shrink(&shape, events[..count].to_vec(), &broken, http);
    let again = run(&shape, &events, http)
        .broken
        .map(|(rule, _)| rule)
        .unwrap_or_default();
    Err(format!(
        "seed {seed}: {broken}\nwith {} events: {again}\n{shape:#?}\n{events:#?}",
        events.len()
    ))
}

#[test]
fn every_mutant_fits_the_code() {
    let count = fixtures::mutants::check("tests/simulation/mutants.toml");
    assert!(count >= 12);
}

#[test]
fn no_rule_is_broken() {
    logs::keep();
    let (http, mut tally) = (http(), BTreeMap::new());
    if let Some(seed) = setting("SIM_ONE") {
        check(seed, &http, &mut tally).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let known = include_str!("seeds.txt").lines();
    let known = known.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let (first, began) = (setting("SIM_SEED").unwrap_or(1_000), Instant::now());
    let length = Duration::from_secs(setting("SIM_SECONDS").unwrap_or(20));
    let least = setting("SIM_EVENTS").and_then(|count| usize::try_from(count).ok());
    let mut seeds = 0;
    for seed in known.chain(first..) {
        let is_long_enough = least.map_or(began.elapsed() >= length, |least| seeds * EVENTS >= least);
        if seed >= first && is_long_enough {
            break;
        }
        check(seed, &http, &mut tally).unwrap_or_else(|failure| panic!("{failure}"));
        seeds += 1;
        if seeds % 100 == 0 {
            eprintln!("{seeds} seeds, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{tally:#?}\n{seeds} seeds, {} events, no rule broken, {seconds:.0} s",
        seeds * EVENTS
    );
    assert!(tally.contains_key("entered"), "nobody entered");
}
