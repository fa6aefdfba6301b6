//! Names for addresses of the running kernel, from the table in its image (see [`tessera_hal::port::symbols`]).

use tessera_hal::port::symbols::{self, Symbol};

/// The function of the running kernel that contains `address`.
pub fn find(address: u64) -> Option<Symbol<'static>> {
    unsafe extern "C" {
        static __symbols_start: u8;
        static __symbols_end: u8;
    }
    let text = crate::image::Image::this().text;
    if !text.contains(&(address as usize)) {
        return None;
    }
    let start = &raw const __symbols_start;
    let bytes = &raw const __symbols_end as usize - start as usize;
    // SAFETY: the linker script gives the section between the two; it is never written.
    let table = unsafe { core::slice::from_raw_parts(start, bytes) };
    symbols::find(table, text.start as u64, address)
}
