//! What the kernel left for the program: the start page.

use crate::ring;
use core::{
    ptr::NonNull,
    slice, str,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};
use tessera_abi::start::{ARGUMENT_OFFSET, Grant, MAX_ARGUMENT_BYTES, StartPage};

static PAGE: AtomicPtr<StartPage> = AtomicPtr::new(core::ptr::null_mut());

/// Takes the start page and the ring over. [`entry!`](crate::entry) does it.
///
/// # Safety
///
/// `address` is the start page that the kernel mapped, and nothing was initialized before.
pub unsafe fn initialize(address: usize) {
    let Some(page) = NonNull::new(address as *mut StartPage) else { crate::exit(crate::PANIC_EXIT_CODE) };
    // SAFETY: the kernel mapped the page readable, aligned and filled in, and only this thread writes to it.
    let ring = unsafe { (*page.as_ptr()).ring };
    PAGE.store(page.as_ptr(), Ordering::Relaxed);
    // SAFETY: the start page names the ring that the kernel mapped; the caller calls once.
    unsafe { ring::initialize(ring as usize) };
}

/// A copy of the page's fixed part.
fn page() -> StartPage {
    // SAFETY: `entry!` stored the address of a page that stays mapped and readable; `progress`, which changes, is
    // written by this thread alone.
    unsafe { PAGE.load(Ordering::Relaxed).read() }
}

/// The argument string.
pub fn arguments() -> &'static str {
    let length = (page().argument_len as usize).min(MAX_ARGUMENT_BYTES);
    let first = PAGE.load(Ordering::Relaxed).cast::<u8>().wrapping_add(ARGUMENT_OFFSET);
    // SAFETY: the string stands behind the fixed part in the same page, and nobody writes to it.
    let bytes = unsafe { slice::from_raw_parts(first, length) };
    str::from_utf8(bytes).unwrap_or("")
}

/// The words of the argument string.
pub fn argument(index: usize) -> Option<&'static str> {
    arguments().split_ascii_whitespace().nth(index)
}

/// How many CPUs are online.
pub fn cpus() -> u32 {
    page().cpus
}

/// Which instance of its manifest entry the program is, from 0.
pub fn instance() -> u32 {
    page().instance
}

/// The handle of the first granted capability with this interface.
pub fn granted(interface: u64) -> Option<u64> {
    let page = page();
    let used = page.grants.get(..page.grant_count as usize).unwrap_or(&[]);
    used.iter().find(|grant: &&Grant| grant.interface == interface).map(|grant| grant.handle)
}

/// The program's own count of work done, which the kernel reports beside its accounting.
pub fn progress() -> &'static AtomicU64 {
    // SAFETY: the page's first word is the progress count (a `u64`, aligned); it stays mapped and writable, and
    // programs and kernel touch it as an atomic alone.
    unsafe { AtomicU64::from_ptr(PAGE.load(Ordering::Relaxed).cast::<u64>()) }
}
