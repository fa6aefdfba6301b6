//! Counts to five, a step every tenth of a second.
#![no_std]
#![no_main]

use tessera_rt::{CallError, Client, Timer, println};

tessera_rt::entry!(main);

fn main() -> i32 {
    match count(5) {
        Ok(()) => 0,
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

fn count(steps: u32) -> Result<(), CallError> {
    let timer = Timer::granted()?;
    for step in 1..=steps {
        timer.sleep(timer.now()?.now_ns + 100_000_000)?;
        println!("step {step} of {steps}");
    }
    Ok(())
}
