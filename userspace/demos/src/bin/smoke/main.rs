//! Every operation and every refusal of the ABI, once.
#![no_std]
#![no_main]

mod transport;
mod values;

use demos::Findings;
use tessera_rt::{CallError, start};

tessera_rt::entry!(main);

fn main() -> i32 {
    let mut findings = Findings::default();
    let outcome = everything(&mut findings);
    findings.check(outcome.is_ok(), format_args!("{outcome:?}"));
    findings.exit_code()
}

fn everything(findings: &mut Findings) -> Result<(), CallError> {
    findings.check(start::arguments() == "some arguments", format_args!("arguments are '{}'", start::arguments()));
    findings.check(start::cpus() > 0, format_args!("no CPU"));
    values::nop(findings)?;
    values::many_outstanding(findings)?;
    values::calls_among_others(findings)?;
    values::time(findings)?;
    values::scheduling(findings)?;
    values::out_of_range(findings)?;
    transport::bad_handles(findings)?;
    transport::bad_methods(findings)?;
    transport::bad_pointers(findings)?;
    transport::too_many_outstanding(findings)?;
    transport::bad_entries(findings)
}
