//! Capabilities that travel beside a message.
//!
//! A CALL, RECV or RETURN names one array of [`TransferEntry`] in the program's memory. What the submission sends stands
//! at its beginning when the kernel reads it; what the program receives stands there when the completion comes.

/// The most capabilities of one message.
pub const MAX_TRANSFER: usize = 16;

/// Sent: the capability with this handle is copied; the sender keeps it.
pub const COPY: u64 = 0;
/// Sent: the sender loses the capability, if and only if the message is delivered.
pub const MOVE: u64 = 1;

/// One capability of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct TransferEntry {
    /// Sent: the sender's handle. Received: the receiver's new handle.
    pub handle: u64,
    /// Sent: [`COPY`] or [`MOVE`]. Received: the interface's id.
    pub detail: u64,
}

impl TransferEntry {
    /// To send a copy of the capability.
    pub const fn copied(handle: u64) -> Self {
        Self { handle, detail: COPY }
    }

    /// To send the capability itself.
    pub const fn moved(handle: u64) -> Self {
        Self { handle, detail: MOVE }
    }
}

/// Packs the counts of a submission: how many entries are sent and how many the array has room for.
pub const fn counts(sent: u16, room: u16) -> u32 {
    sent as u32 | (room as u32) << 16
}

/// How many entries are sent.
pub const fn sent(counts: u32) -> usize {
    (counts & 0xffff) as usize
}

/// How many entries the array has room for.
pub const fn room(counts: u32) -> usize {
    (counts >> 16) as usize
}

/// What stands at the beginning of the buffer of a completed RECV; the parameters follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ReceivedCall {
    /// The interface of the client's capability.
    pub interface: u64,
    /// The badge that the server gave it.
    pub badge: u64,
    /// Who calls: one number for each calling process, meaningless at any other endpoint.
    pub caller: u64,
    /// The method's ordinal.
    pub method: u16,
    /// How many capabilities came along.
    pub capabilities: u16,
    /// Bytes of the parameters.
    pub params_len: u32,
}

/// Bytes of [`ReceivedCall`].
pub const RECEIVED_CALL_BYTES: usize = 32;

const _: () = assert!(size_of::<ReceivedCall>() == RECEIVED_CALL_BYTES && size_of::<TransferEntry>() == 16);
