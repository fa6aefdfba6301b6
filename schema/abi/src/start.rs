//! What a program finds when it starts.
//!
//! The first argument register holds the address of a [`StartPage`] (one page, mapped read-write). Its layout is
//! `repr(C)`; the program's argument string stands behind it in the same page.

/// The most capabilities that a program can be started with.
pub const MAX_GRANTS: usize = 16;
/// The most bytes of a grant's name; the rest of its field is zero, and so is its last byte.
pub const MAX_GRANT_NAME_BYTES: usize = 31;
/// The most bytes of the argument string.
pub const MAX_ARGUMENT_BYTES: usize = 1024;
/// Offset of the argument string in the page.
pub const ARGUMENT_OFFSET: usize = 2048;

/// A capability that the program starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Grant {
    /// The interface's Cap'n Proto id.
    pub interface: u64,
    /// The handle to put into submissions.
    pub handle: u64,
    /// What the manifest calls it, filled up with zeros.
    pub name: [u8; MAX_GRANT_NAME_BYTES + 1],
}

/// The start page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct StartPage {
    /// The program's own count of work done, which the kernel reports beside its accounting. The program writes it.
    pub progress: u64,
    /// Address of the first thread's ring.
    pub ring: u64,
    /// How many CPUs are online.
    pub cpus: u32,
    /// How many of `grants` are used.
    pub grant_count: u32,
    /// Bytes of the argument string at [`ARGUMENT_OFFSET`].
    pub argument_len: u32,
    /// Which instance of its manifest entry this is, from 0.
    pub instance: u32,
    /// The capabilities.
    pub grants: [Grant; MAX_GRANTS],
}

const _: () = assert!(size_of::<StartPage>() <= ARGUMENT_OFFSET);
const _: () = assert!(ARGUMENT_OFFSET + MAX_ARGUMENT_BYTES <= 4096);
