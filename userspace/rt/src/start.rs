//! What the kernel left for the program: the start page.

use core::{
    mem::offset_of,
    ptr::NonNull,
    slice, str,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};
use tessera_abi::start::{ARGUMENT_OFFSET, Grant, MAX_ARGUMENT_BYTES, MAX_GRANTS, StartPage};

static PAGE: AtomicPtr<StartPage> = AtomicPtr::new(core::ptr::null_mut());

/// Takes the start page over. [`entry!`](crate::entry) does it.
///
/// # Safety
///
/// `address` is the start page that the kernel mapped; nothing was initialized before.
pub unsafe fn initialize(address: usize) {
    let Some(page) = NonNull::new(core::ptr::with_exposed_provenance_mut(address)) else {
        crate::exit(crate::PANIC_EXIT_CODE)
    };
    PAGE.store(page.as_ptr(), Ordering::Relaxed);
}

/// The address of a part of the page; all but `progress` stays as the kernel wrote it.
fn at<T>(offset: usize) -> *const T {
    PAGE.load(Ordering::Relaxed).cast_const().wrapping_byte_add(offset).cast()
}

fn number(offset: usize) -> u32 {
    // SAFETY: the offset is that of an aligned `u32` field in a page that stays mapped and that nobody writes there.
    unsafe { at::<u32>(offset).read() }
}

/// The argument string.
pub fn arguments() -> &'static str {
    let length = (number(offset_of!(StartPage, argument_len)) as usize).min(MAX_ARGUMENT_BYTES);
    // SAFETY: the string stands behind the fixed part in the same page, and nobody writes to it.
    let bytes = unsafe { slice::from_raw_parts(at(ARGUMENT_OFFSET), length) };
    str::from_utf8(bytes).unwrap_or("")
}

/// The words of the argument string.
pub fn argument(index: usize) -> Option<&'static str> {
    arguments().split_ascii_whitespace().nth(index)
}

/// The value of the word `key=value` of the argument string.
pub fn option(key: &str) -> Option<&'static str> {
    arguments().split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The manifest that the kernel has mapped for init, as its argument string says (`manifest=0xADDRESS bytes=N`). Nobody
/// else is given that string.
pub fn manifest() -> Option<&'static [u8]> {
    let address = usize::from_str_radix(option("manifest")?.strip_prefix("0x")?, 16).ok()?;
    let bytes = option("bytes")?.parse().ok()?;
    let first = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address))?;
    // SAFETY: who starts a program answers for its argument string as for the rest of its start page; the kernel maps the
    // manifest read-only for the life of init and says here where.
    Some(unsafe { slice::from_raw_parts(first.as_ptr(), bytes) })
}

/// How many CPUs are online.
pub fn cpus() -> u32 {
    number(offset_of!(StartPage, cpus))
}

/// Which instance of its manifest entry the program is, from 0.
pub fn instance() -> u32 {
    number(offset_of!(StartPage, instance))
}

/// The capabilities that the program was started with.
pub fn grants() -> &'static [Grant] {
    let count = (number(offset_of!(StartPage, grant_count)) as usize).min(MAX_GRANTS);
    // SAFETY: so many entries of the array are filled in, and nobody writes to them.
    unsafe { slice::from_raw_parts(at(offset_of!(StartPage, grants)), count) }
}

/// What the manifest calls a grant.
pub fn grant_name(grant: &Grant) -> &str {
    let length = grant.name.iter().position(|byte| *byte == 0).unwrap_or(grant.name.len());
    str::from_utf8(grant.name.get(..length).unwrap_or_default()).unwrap_or("")
}

/// The capability with this name.
pub fn granted(name: &str) -> Option<Grant> {
    grants().iter().find(|grant| grant_name(grant) == name).copied()
}

/// The handle of the first capability with this interface.
pub fn granted_interface(interface: u64) -> Option<u64> {
    grants().iter().find(|grant| grant.interface == interface).map(|grant| grant.handle)
}

/// The program's own count of work done, which the kernel reports beside its accounting.
pub fn progress() -> &'static AtomicU64 {
    // SAFETY: the page's first word is the progress count (a `u64`, aligned); it stays mapped and writable, and
    // programs and kernel touch it as an atomic alone.
    unsafe { AtomicU64::from_ptr(at::<u64>(offset_of!(StartPage, progress)).cast_mut()) }
}
