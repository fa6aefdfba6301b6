//! The one place that knows the machine: entries, the two system calls, the thread pointer, the current CPU.
//!
//! On a host, where the tests of this crate run, a fake stands in for the kernel.

cfg_if::cfg_if! {
    if #[cfg(not(target_os = "none"))] {
        mod host;
        use host as machine;
        #[cfg(test)]
        pub use host::become_thread;
    } else if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        use x86_64 as machine;
        pub use machine::{current_cpu, forbidden, probe};
    } else if #[cfg(target_arch = "aarch64")] {
        mod aarch64;
        use aarch64 as machine;
        pub use machine::{current_cpu, forbidden, probe};
    }
}

pub use machine::{enter_and_end, ring_address, thread_entry};
use tessera_abi::system_call;

/// `cap_enter`: hands the submission queue to the kernel and waits for completions. Negative: a `SystemCallError`.
pub fn cap_enter(min_complete: u32, timeout_ns: u64) -> isize {
    machine::system_call(system_call::CAP_ENTER, min_complete as usize, timeout_ns)
}

/// `exit`.
pub fn exit(code: i32) -> ! {
    loop {
        machine::system_call(system_call::EXIT, code as usize, 0);
    }
}
