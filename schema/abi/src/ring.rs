//! The ring of a thread: three pages that the kernel owns and the program has mapped read-write.
//!
//! Page 0 is the header, page 1 the submission queue (64 entries of 64 bytes), page 2 the completion queue (128 of 32
//! bytes). Indices count up without bound and wrap at 2^32; entry `i` stands at `i % entries`. The program writes
//! `sq_tail` and `cq_head`, the kernel `sq_head` and `cq_tail`; each reads the other's with acquire and publishes its
//! own with release. The kernel never trusts what it reads: an index that is out of range is an error, not a wrap.

/// Entries of the submission queue.
pub const SQ_ENTRIES: u32 = 64;
/// Entries of the completion queue.
pub const CQ_ENTRIES: u32 = 128;
/// Bytes of a submission queue entry.
pub const SQE_BYTES: usize = 64;
/// Bytes of a completion queue entry.
pub const CQE_BYTES: usize = 32;
/// Pages of a ring.
pub const RING_PAGES: usize = 3;

/// Byte offsets of the header's words (each a `u32` on its own cache line) in page 0.
pub mod header {
    /// Next entry that the kernel will consume. Kernel writes.
    pub const SQ_HEAD: usize = 0;
    /// Next entry that the program will fill. Program writes.
    pub const SQ_TAIL: usize = 64;
    /// Next completion that the program will read. Program writes.
    pub const CQ_HEAD: usize = 128;
    /// Next completion that the kernel will fill. Kernel writes.
    pub const CQ_TAIL: usize = 192;
    /// Flags (see [`super::NEED_WAKEUP`]). Kernel writes.
    pub const FLAGS: usize = 256;
}

/// Header flag: nobody polls the submission queue; `cap_enter` is needed. Always set today.
pub const NEED_WAKEUP: u32 = 1;

/// What a submission asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Operation {
    /// Completes with status 0 and `value` = the entry's `argument`.
    Nop = 0,
    /// Invokes a method of a capability.
    Call = 1,
    /// Receives a call at an endpoint.
    Recv = 2,
    /// Answers a call.
    Return = 3,
    /// Gives a capability up.
    Release = 4,
    /// Waits on a word.
    Park = 5,
    /// Wakes those that wait on a word.
    Unpark = 6,
}

/// A submission queue entry. Unused fields must be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SubmissionEntry {
    /// An [`Operation`].
    pub operation: u8,
    /// Must be zero.
    pub flags: u8,
    /// CALL: the method's ordinal.
    pub method: u16,
    /// CALL: bytes of the parameter message.
    pub params_len: u32,
    /// The capability: slot in the low, generation in the high 32 bits.
    pub handle: u64,
    /// Comes back in the completion.
    pub user_data: u64,
    /// CALL: the interface's Cap'n Proto id.
    pub interface: u64,
    /// CALL: address of the parameters: a Cap'n Proto message of one segment in standard framing.
    pub params: u64,
    /// CALL: address of the buffer for the results, in the same form.
    pub results: u64,
    /// CALL: bytes of that buffer.
    pub results_len: u32,
    /// Must be zero.
    pub reserved: u32,
    /// NOP: comes back as `value`.
    pub argument: u64,
}

/// A completion queue entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct CompletionEntry {
    /// From the submission.
    pub user_data: u64,
    /// Zero or more: bytes of the result message. Negative: a [`TransportError`].
    pub status: i32,
    /// See [`EXCEPTION`].
    pub flags: u32,
    /// NOP: the submission's `argument`.
    pub value: u64,
    /// Zero.
    pub reserved: u64,
}

/// Completion flag: the result message is a `CapException`, not the method's results.
pub const EXCEPTION: u32 = 1;

/// Why a submission did not reach its capability, or its results did not reach the program. The completion's status is
/// the negated number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum TransportError {
    /// The operation's number is unknown or not built yet.
    UnknownOperation = 1,
    /// A reserved field or flag is not zero.
    ReservedField = 2,
    /// The handle names no capability, or one that is gone.
    InvalidHandle = 3,
    /// The capability has another interface than the submission says.
    WrongInterface = 4,
    /// The parameter buffer is not readable user memory.
    BadParams = 5,
    /// The result buffer is not writable user memory.
    BadResults = 6,
    /// The result does not fit the result buffer.
    ResultsTooSmall = 7,
    /// The parameters are not a valid message.
    MalformedMessage = 8,
    /// The parameters are longer than [`MAX_MESSAGE_BYTES`].
    MessageTooLong = 9,
}

/// The longest message, in bytes, in either direction.
pub const MAX_MESSAGE_BYTES: u32 = 4096;

const _: () = assert!(size_of::<SubmissionEntry>() == SQE_BYTES && size_of::<CompletionEntry>() == CQE_BYTES);
