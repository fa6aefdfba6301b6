//! Random ends of random processes, several at a time.

use crate::{Family, children::ROLES, wanted};
use demos::{
    Findings,
    child::{Child, End},
    number,
    random::Random,
    resources::Baseline,
};
use tessera_rt::{CallError, Client, Timer, client::copied, generated::messages::SpawnParams, println};

/// Processes, unless the argument says otherwise.
const PROCESSES: u64 = 100;
/// How many live at a time, at most.
const ALIVE: usize = 8;

pub fn check(findings: &mut Findings, family: &Family, before: &Baseline) -> Result<(), CallError> {
    let processes = number(0).unwrap_or(PROCESSES);
    let seed = number(1).map_or_else(|| Timer::granted()?.now().map(|now| now.now_ns), Ok)?;
    println!("{processes} processes, seed {seed}");
    let mut random = Random::new(seed);
    let mut alive: [Option<(Child, &str)>; ALIVE] = [None; ALIVE];
    for _ in 0..processes {
        let place = &mut alive[random.below(ALIVE as u64) as usize];
        if let Some((child, role)) = place.take() {
            end(findings, child, role, &mut random)?;
        }
        let role = ROLES[random.below(ROLES.len() as u64) as usize];
        let params = SpawnParams { weight: random.below(200) as u16, ..wanted(role) };
        let child = Child::spawn(family.spawner, &params, &family.given(copied(family.client))?)?;
        if random.below(16) != 0 {
            child.process.start()?;
        }
        *place = Some((child, role));
        (0..random.below(200)).for_each(|_| demos::work());
    }
    for (child, role) in alive.into_iter().flatten() {
        end(findings, child, role, &mut random)?;
    }
    before.returned(findings, "the storm")
}

/// Kills the child, or, if it ends by itself, may wait for that.
fn end(findings: &mut Findings, child: Child, role: &str, random: &mut Random) -> Result<(), CallError> {
    let by_itself = matches!(role, "exit" | "parent" | "fault") && child.info()?.state != 0;
    let end = match by_itself && random.below(2) == 0 {
        true => child.ended()?,
        false => child.killed()?,
    };
    let own = if role == "fault" { End::Fault } else { End::Exit(0) };
    let good = end == End::Killed || by_itself && end == own;
    findings.check(good, format_args!("{role} ended with {end:?}"));
    Ok(())
}
