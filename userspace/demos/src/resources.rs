//! Whether the system has what it had: what a program leaves behind when it ends would show in the kernel's counts.

use crate::Findings;
use tessera_rt::{CallError, client::SystemInspector, generated::messages::ResourceCounts, time};

/// How often to look for what the kernel does in the background, and how long to wait in between, in nanoseconds.
const LOOKS: u32 = 20_000;
const PAUSE_NS: u64 = 100_000;

/// The counts of a moment.
pub struct Baseline {
    inspector: SystemInspector,
    counts: ResourceCounts,
}

impl Baseline {
    /// What there is now.
    pub fn now(inspector: SystemInspector) -> Result<Self, CallError> {
        Ok(Self { inspector, counts: inspector.resources()? })
    }

    /// Waits until the system has what it had; says what it has if not. The caller's own pages may be used for the first
    /// time meanwhile: what was promised for them is compared, not what of it is in use.
    pub fn returned(&self, findings: &mut Findings, after: &str) -> Result<(), CallError> {
        let then = &self.counts;
        let is_same = |now: &ResourceCounts| ResourceCounts { frames: then.frames, ..*now } == *then;
        let now = self.look(is_same)?;
        findings.check(is_same(&now), format_args!("after {after} there are {now:?}, at first {then:?}"));
        Ok(())
    }

    /// Waits until there is more of everything, which shows that nothing could stay without being seen.
    pub fn grown(&self, findings: &mut Findings, because: &str) -> Result<(), CallError> {
        let then = counts(&self.counts);
        let is_more = |now: &ResourceCounts| counts(now).iter().zip(then).all(|(now, then)| *now > then);
        let now = self.look(is_more)?;
        let (what, then) = (format_args!("{because}, and still there are {now:?}"), &self.counts);
        findings.check(is_more(&now), format_args!("{what}, at first {then:?}"));
        Ok(())
    }

    fn look(&self, good: impl Fn(&ResourceCounts) -> bool) -> Result<ResourceCounts, CallError> {
        let mut now = self.inspector.resources()?;
        for _ in 0..LOOKS {
            if good(&now) {
                break;
            }
            time::sleep(PAUSE_NS)?;
            now = self.inspector.resources()?;
        }
        Ok(now)
    }
}

fn counts(of: &ResourceCounts) -> [u64; 10] {
    let ResourceCounts {
        processes,
        threads,
        frames,
        committed_frames,
        capabilities,
        endpoints,
        parks,
        operations,
        memory_objects,
        timers,
    } = *of;
    [processes, threads, frames, committed_frames, capabilities, endpoints, parks, operations, memory_objects, timers]
}
