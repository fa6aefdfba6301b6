//! Programs that mean harm. The kernel must stay up, answer with a typed error, and take back all that was used; whoever
//! runs beside must not notice.
//!
//! Argument: the role. `warden N SEED` makes the attackers, one kind after the other, waits for their ends, and compares
//! what the system has afterwards with what it had before; N is the number of random submissions. `random-warden N SEED`
//! makes the last kind alone. `victim` runs beside
//! them. The other roles are the attackers', and of the processes that they make.
#![no_std]
#![no_main]

extern crate alloc;

mod arrays;
mod bombs;
mod calls;
mod exhaust;
mod faults;
mod limits;
mod pointers;
mod races;
mod random;
mod raw;
mod victim;
mod warden;

use demos::Findings;
use tessera_rt::{CallError, println, start};

tessera_rt::entry!(main);

/// An attack that checks itself.
type Attack = fn(&mut Findings) -> Result<(), CallError>;

/// The attacks in the order in which the warden has them made, each by a process of its own.
const ATTACKS: [(&str, Attack); 23] = [
    ("pointers", pointers::check),
    ("harmless", faults::harmless),
    ("mappings", exhaust::mappings),
    ("endpoints", exhaust::endpoints),
    ("frames", exhaust::frames),
    ("slots", exhaust::slots),
    ("endpoint-queue", limits::endpoint_queue),
    ("receivers", limits::receivers),
    ("operations", limits::operations),
    ("parks", limits::parks),
    ("waiters", limits::waiters),
    ("thread-bomb", bombs::threads),
    ("process-bomb", bombs::processes),
    ("fork-bomb", bombs::forks),
    ("exit-storm", bombs::exits),
    ("ring-race", races::entries),
    ("index-race", races::indices),
    ("parameter-race", races::parameters),
    ("mapping-race", races::mappings),
    ("array-race", arrays::check),
    ("deaths", calls::deaths),
    ("revocations", calls::revocations),
    ("cycles", calls::cycles),
];

fn main() -> i32 {
    let role = start::argument(0).unwrap_or("");
    if let Some((_, attack)) = ATTACKS.iter().find(|(name, _)| *name == role) {
        return part(role, *attack);
    }
    match role {
        "warden" => part(role, warden::check),
        "random-warden" => part(role, warden::check_random),
        "random" => part(role, random::check),
        "victim" => victim::run(),
        "fault" => faults::commit(),
        role => bombs::child(role).or_else(|| calls::child(role)).unwrap_or_else(|| {
            println!("no role '{role}'");
            2
        }),
    }
}

fn part(role: &str, attack: Attack) -> i32 {
    let mut findings = Findings::default();
    findings.part(role, attack);
    findings.exit_code()
}
