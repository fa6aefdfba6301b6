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

/// A submission queue entry. What an operation does not use must be zero.
///
/// | field | NOP | CALL | RECV | RETURN | RELEASE | PARK | UNPARK |
/// |---|---|---|---|---|---|---|---|
/// | `flags` | | | | 0 or [`EXCEPTION`] | | | |
/// | `method` | | ordinal | | | | | |
/// | `handle` | | capability | Endpoint | Endpoint | capability | ParkSpace | ParkSpace |
/// | `interface` | | its id | | call id | | | |
/// | `params`, `params_len` | | parameters | | results | | word (4) | word (4) |
/// | `results`, `results_len` | | results | call | | | | |
/// | `capabilities` | | counts | counts (room) | counts (sent) | | expected value | most to wake |
/// | `argument` | value | array | array | array | | deadline, ns | |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SubmissionEntry {
    /// An [`Operation`].
    pub operation: u8,
    /// RETURN: [`EXCEPTION`] if the results are a `CapException`. Else zero.
    pub flags: u8,
    /// CALL: the method's ordinal.
    pub method: u16,
    /// Bytes of what `params` points at. PARK, UNPARK: 4.
    pub params_len: u32,
    /// The capability: slot in the low, generation in the high 32 bits.
    pub handle: u64,
    /// Comes back in the completion.
    pub user_data: u64,
    /// CALL: the interface's Cap'n Proto id. RETURN: the call's id, from the completion of its RECV.
    pub interface: u64,
    /// CALL: address of the parameters: a Cap'n Proto message of one segment in standard framing. RETURN: address of the
    /// results, in the same form. PARK, UNPARK: address of a word of 32 bits, a multiple of 4.
    ///
    /// What a CALL points at stays untouched until its completion.
    pub params: u64,
    /// CALL: address of the buffer for the results, in the same form. RECV: address of the buffer for a
    /// [`ReceivedCall`](crate::transfer::ReceivedCall) and its parameters.
    pub results: u64,
    /// Bytes of that buffer. RECV: at least [`RECEIVE_BYTES`].
    pub results_len: u32,
    /// CALL, RECV, RETURN: [`counts`](crate::transfer::counts) of the capabilities that travel along. PARK: the value that
    /// the word must have. UNPARK: the most threads to wake.
    pub capabilities: u32,
    /// NOP: comes back as `value`. CALL, RECV, RETURN: address of the array of
    /// [`TransferEntry`](crate::transfer::TransferEntry), zero if there is none. PARK: when it gives up, nanoseconds since
    /// boot ([`NO_DEADLINE`]: never).
    pub argument: u64,
}

/// The deadline of a PARK that never gives up.
pub const NO_DEADLINE: u64 = u64::MAX;

/// How a PARK ended, in `value` of its completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum ParkOutcome {
    /// An UNPARK has woken it.
    Woken = 0,
    /// The word did not have the expected value.
    Differs = 1,
    /// The deadline has come.
    TimedOut = 2,
    /// The word is not mapped any more.
    Unmapped = 3,
}

impl ParkOutcome {
    /// The outcome with this number.
    pub const fn from_value(value: u64) -> Option<Self> {
        match value {
            0 => Some(Self::Woken),
            1 => Some(Self::Differs),
            2 => Some(Self::TimedOut),
            3 => Some(Self::Unmapped),
            _ => None,
        }
    }
}

/// A completion queue entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct CompletionEntry {
    /// From the submission.
    pub user_data: u64,
    /// Zero or more: bytes of the result message (RECV: of what stands in the buffer). Negative: a [`TransportError`].
    pub status: i32,
    /// See [`EXCEPTION`].
    pub flags: u32,
    /// NOP: the submission's `argument`. RECV: the call's id. PARK: a [`ParkOutcome`]. UNPARK: how many were woken.
    pub value: u64,
    /// CALL, RECV: how many capabilities came along; they stand in the submission's array.
    pub capabilities: u64,
}

/// Completion flag: the result message is a `CapException`, not the method's results.
pub const EXCEPTION: u32 = 1;

/// Why a submission did not reach its capability, or its results did not reach the program. The completion's status is
/// the negated number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum TransportError {
    /// The operation's number is unknown.
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
    /// The capability was revoked.
    Revoked = 10,
    /// The array of capabilities is longer than [`MAX_TRANSFER`](crate::transfer::MAX_TRANSFER), is not memory of the
    /// program, or names a capability twice, one of them to move.
    BadCapabilities = 11,
    /// RETURN: no call with this id was received by this process and waits for its answer.
    NoSuchCall = 12,
    /// CALL: the receiver's array or table had no room for the capabilities. RETURN: the caller's had none. Nothing was
    /// moved; the call is answered with `overloaded`.
    CapabilitiesRefused = 13,
    /// PARK, UNPARK: the address is not that of an aligned word that can be read.
    BadWord = 14,
    /// The thread or its process has too many operations outstanding, or the object too many waiting.
    Overloaded = 15,
    /// RECV: the endpoint is gone.
    Disconnected = 16,
}

/// The longest message, in bytes, in either direction.
pub const MAX_MESSAGE_BYTES: u32 = 4096;
/// The least bytes of the buffer of a RECV: any call fits.
pub const RECEIVE_BYTES: u32 = MAX_MESSAGE_BYTES + crate::transfer::RECEIVED_CALL_BYTES as u32;

/// The header page's bytes from here on belong to the program: the kernel neither reads nor writes them, but for one
/// word at [`SELF_ADDRESS`].
pub const PROGRAM_AREA: usize = 1024;
/// Where the header page holds its own address when the thread starts (`u64`). The thread pointer of a new thread holds
/// the same address, so that a program finds its ring and what it keeps beside it.
pub const SELF_ADDRESS: usize = PROGRAM_AREA;

const _: () = assert!(size_of::<SubmissionEntry>() == SQE_BYTES && size_of::<CompletionEntry>() == CQE_BYTES);
