//! Runs a target on mutated inputs for a while.
//!
//!     Target { seeds, repair, memory_max, run } ─▶ run_for(target, seconds, seed) ─▶ Summary
//!
//! An input fails if the target panics, holds more memory than it may, or takes over a second. Then the
//! panic's text ends with the input in hex: `replay(target, hex)` runs it alone.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::mutate::{Rng, mutate};
use crate::sys::peak_of;

pub struct Target {
    pub name: &'static str,
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes checksums and lengths match again, so that what lies behind them is reached.
    pub repair: fn(&mut Vec<u8>),
    /// Bytes that the target may hold at a time, for an input of so many bytes.
    pub memory_max: fn(usize) -> usize,
    /// Parses, checks what can be checked of the result, and names how it ended.
    pub run: fn(&[u8]) -> String,
}

#[derive(Debug)]
pub struct Summary {
    pub inputs: u64,
    /// Different ways in which they ended.
    pub outcomes: usize,
}

/// An input that takes longer has found an algorithm that is too slow.
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// An input that takes longer never ends: the process is stopped.
const HANG: Duration = Duration::from_secs(20);

/// Inputs that are kept to be mutated further.
const CORPUS_MAX: usize = 4096;

/// # Panics
/// If an input fails.
pub fn run_for(target: &Target, time: Duration, seed: u64) -> Summary {
    let watch = Watch::over(target.name);
    let mut rng = Rng(seed);
    let mut corpus = (target.seeds)();
    let mut outcomes = HashSet::new();
    let mut inputs = 0;
    for seed in &corpus {
        outcomes.insert(run_one(target, seed, &watch));
        inputs += 1;
    }
    assert!(!corpus.is_empty(), "BUG: {} has no seeds", target.name);
    let begun = Instant::now();
    while begun.elapsed() < time {
        let mut input = corpus[rng.below(corpus.len())].clone();
        let other = &corpus[rng.below(corpus.len())];
        mutate(&mut input, other, &mut rng);
        if rng.below(2) == 0 {
            (target.repair)(&mut input);
        }
        inputs += 1;
        if outcomes.insert(run_one(target, &input, &watch)) && corpus.len() < CORPUS_MAX {
            corpus.push(input);
        }
    }
    Summary { inputs, outcomes: outcomes.len() }
}

/// Runs one input, as a failure printed it.
pub fn replay(target: &Target, hex: &str) -> String {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hex digits") as u8;
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect();
    (target.run)(&bytes)
}

/// How the input ended, without the numbers in it: each would be an outcome of its own.
fn run_one(target: &Target, input: &[u8], watch: &Watch) -> u64 {
    watch.begin(input);
    let begun = Instant::now();
    let (peak, result) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    let took = begun.elapsed();
    watch.end();
    let fail = |what: String| -> ! {
        panic!("{}: {what}; reproduce: RINGLOG_FUZZ_REPLAY={}:{}", target.name, target.name, hex(input))
    };
    let Ok(outcome) = result else { fail("it panicked".to_owned()) };
    let memory_max = (target.memory_max)(input.len());
    if memory_max < peak {
        fail(format!("it held {peak} bytes for an input of {}, and may hold {memory_max}", input.len()));
    }
    if INPUT_TIME_MAX < took {
        fail(format!("it took {took:?} for an input of {} bytes", input.len()));
    }
    let mut hasher = DefaultHasher::new();
    outcome.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| byte.hash(&mut hasher));
    hasher.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The input at hand, and since when.
type Running = Mutex<Option<(Instant, Vec<u8>)>>;

/// Stops the process, with the input, if an input never ends.
struct Watch {
    running: Arc<Running>,
}

impl Watch {
    fn over(name: &'static str) -> Watch {
        let running: Arc<Running> = Arc::default();
        let watched = Arc::downgrade(&running);
        std::thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some((begun, input)) = &*running.lock().expect("nobody panics with the lock")
                    && HANG < begun.elapsed()
                {
                    use std::io::Write;
                    let _ = writeln!(
                        std::io::stderr(),
                        "{name} hangs: RINGLOG_FUZZ_REPLAY={name}:{}",
                        hex(input)
                    );
                    std::process::abort();
                }
                drop(running);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Watch { running }
    }

    fn begin(&self, input: &[u8]) {
        *self.running.lock().expect("the watcher does not panic") = Some((Instant::now(), input.to_vec()));
    }

    fn end(&self) {
        *self.running.lock().expect("the watcher does not panic") = None;
    }
}
