//! The two system calls. Everything else is a capability invoked through the ring.
//!
//! x86_64: number in `rax`, arguments in `rdi`, `rsi`, result in `rax`; `rcx` and `r11` are lost.
//! aarch64: number in `x8`, arguments in `x0`, `x1`, result in `x0`.

/// `cap_enter(min_complete, timeout_ns) -> completions available | negative error`.
///
/// Consumes the submission queue, then waits until at least `min_complete` completions are in the completion queue or
/// `timeout_ns` nanoseconds have passed (0: do not wait; [`WAIT_FOREVER`]: no time limit).
pub const CAP_ENTER: usize = 0;

/// `exit(code) -> !`. Ends the calling program.
pub const EXIT: usize = 1;

/// The `timeout_ns` that means "no time limit".
pub const WAIT_FOREVER: u64 = u64::MAX;

/// Why a system call itself failed (what it returns is the negated number).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum SystemCallError {
    /// No call has this number.
    NoSuchCall = 1,
    /// An argument is out of range (`min_complete` above the completion queue's size).
    InvalidArgument = 2,
    /// The ring's indices make no sense (more entries than the queue holds). Nothing was consumed.
    CorruptRing = 3,
}
