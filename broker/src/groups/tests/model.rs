//! Random schedules in simulated time, against what clients have been told.
//!
//!     clients   join │ sync │ heartbeat │ leave │ commit, also as what they were before │ crash, come back
//!     driver    appends, or refuses │ makes durable later, then replies │ restarts with what is durable
//!     time      passes from deadline to deadline, or jumps over several
//!
//! `RINGLOG_SCHEDULES=n` sets how many are tried, `RINGLOG_SEED=n` tries one: a failure names its seed.
//!
//! Held after each step: every request is answered once, or waits with a deadline; one generation has one
//! leader and is never given again, also over restarts; a member gets what the leader of its generation
//! gave it; nobody who was told better commits; offsets are what was committed last.

mod world;

use std::io::Write as _;

use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value:?}")))
}

#[test]
fn random_schedules_keep_what_clients_were_told() {
    let seeds = match number("RINGLOG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGLOG_SCHEDULES").unwrap_or(200),
    };
    let mut seen = world::Seen::default();
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        match outcome {
            Ok(of_one) => seen.add(&of_one),
            Err(_) => panic!("schedule {seed} failed; again: RINGLOG_SEED={seed}"),
        }
    }
    if number("RINGLOG_SCHEDULES").is_some() {
        writeln!(std::io::stderr(), "{seen:?}").expect("stderr is open");
    }
    // A schedule that never gets anywhere proves nothing.
    if 100 <= seeds.end - seeds.start {
        seen.assert_everything_happened();
    }
}
