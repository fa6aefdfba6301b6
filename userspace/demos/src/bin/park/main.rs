//! PARK and UNPARK: sleep if the word still equals, first come first woken, deadlines, words that go away, words of two
//! processes; and the locks that stand on them, with four threads on all CPUs.
#![no_std]
#![no_main]

mod locks;
mod sharing;
mod words;

use demos::Findings;
use tessera_rt::start;

tessera_rt::entry!(main);

fn main() -> i32 {
    if start::argument(0) == Some("partner") {
        return sharing::partner();
    }
    let mut findings = Findings::default();
    findings.part("words", words::check);
    findings.part("words that go away", words::unmapped);
    findings.part("the order of waking", words::order);
    findings.part("two processes", sharing::check);
    findings.part("locks", locks::check);
    findings.part("ping-pong", locks::ping_pong);
    findings.exit_code()
}
