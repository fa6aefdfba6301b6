//! Masks of CPUs, as messages carry them.

use tessera_rt::message::{CPU_WORDS, CpuWords};

/// The mask of these CPUs.
pub fn mask(cpus: &[u32]) -> CpuWords {
    let mut words = [0; CPU_WORDS];
    for cpu in cpus {
        if let Some(word) = words.get_mut(*cpu as usize / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    words
}

/// Whether the mask has this CPU.
pub fn permits(words: &CpuWords, cpu: u16) -> bool {
    words.get(usize::from(cpu) / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
}
