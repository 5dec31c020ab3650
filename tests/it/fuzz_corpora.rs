//! Replays the fuzzing corpora (`fuzz/corpus/*.jsonl`, one input a line, as a JSON string), and mutated inputs, which
//! are the same in every run. `VESTIBULE_FUZZ_ROUNDS` sets the number of mutated inputs for each target.

#[expect(unreachable_pub, reason = "it is the library of another package")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

const ROUNDS: u64 = 3_000;

/// Tokens of the inputs. Inserting one of them reaches deeper code than flipping a bit.
const WORDS: &[&str] = &[
    "\"",
    "\\",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ".",
    ",",
    ":",
    " ",
    "null",
    "true",
    "\"True\"",
    "0",
    "-1",
    "1e999",
    "1.0",
    " and ",
    " or ",
    "not ",
    " eq ",
    " ne ",
    " pr",
    "value",
    "type",
    "primary",
    "emails",
    "members",
    "cards",
    "tags",
    "userName",
    "\"value\":",
    "\"primary\":true",
    "\"op\":\"add\",",
    "\"path\":\"emails\",",
    "\u{0}",
    "\u{e9}",
    "\u{1f600}",
    "W/",
    "filter=",
    "&",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    "urn:example:schemas:2.0:Badge",
];

/// A pseudo-random sequence that is the same in every run (xorshift64*).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let next = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(next).unwrap_or_default() % bound.max(1)
    }
}

fn corpus(target: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/corpus/{target}.jsonl"));
    let text = std::fs::read_to_string(&path).expect("the corpus is part of the repository");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON string"))
        .collect()
}

/// One input with one to four changes: a token inserted or put over, a piece removed, repeated or taken from another.
fn changed(inputs: &[String], sequence: &mut Sequence) -> Vec<u8> {
    let mut bytes = inputs[sequence.below(inputs.len())].clone().into_bytes();
    for _ in 0..=sequence.below(4) {
        let (at, length) = (sequence.below(bytes.len() + 1), sequence.below(12));
        let end = (at + length).min(bytes.len());
        match sequence.below(5) {
            0 => drop(bytes.splice(at..at, WORDS[sequence.below(WORDS.len())].bytes())),
            1 => drop(bytes.splice(at..end, WORDS[sequence.below(WORDS.len())].bytes())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            _ => {
                let other = inputs[sequence.below(inputs.len())].as_bytes();
                let from = sequence.below(other.len() + 1);
                drop(bytes.splice(at..end, other[from..].iter().copied()));
            }
        }
    }
    bytes
}

fn replay(target: &str, run: fn(&[u8])) {
    let inputs = corpus(target);
    for input in &inputs {
        run(input.as_bytes());
    }
    let rounds = std::env::var("VESTIBULE_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        let input = changed(&inputs, &mut sequence);
        let kept = std::panic::catch_unwind(|| run(&input)).is_ok();
        // The message shows the input as a line for the corpus.
        assert!(
            kept,
            "{target} failed on {}",
            serde_json::json!(String::from_utf8_lossy(&input))
        );
    }
}

#[test]
fn filters_mean_what_they_say() {
    replay("filter", targets::filter);
}

#[test]
fn paths_mean_what_they_say() {
    replay("patch_path", targets::patch_path);
}

#[test]
fn patches_make_valid_resources() {
    replay("patch_body", targets::patch_body);
}

#[test]
fn bodies_become_strict() {
    replay("resource_body", targets::resource_body);
}

#[test]
fn queries_are_read_or_refused() {
    replay("query", targets::query);
}

#[test]
fn forged_cursors_are_refused() {
    replay("cursor", targets::cursor);
}

#[test]
fn own_version_matches_in_any_if_match_header() {
    replay("entity_tags", targets::entity_tags);
}
