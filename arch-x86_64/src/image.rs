//! The kernel's image: where the linker put its parts. Each begins and ends at a page.

use crate::page_entry::Kind;
use core::ops::Range;
use tessera_hal::PhysicalAddress;

/// The difference between an image address and its physical address.
const OFFSET: usize = 0xffff_ffff_8000_0000;

/// The parts of the image, as virtual addresses.
#[derive(Clone, Debug)]
pub struct Image {
    /// The entry stub and the loader's tables, which stand before the text.
    pub boot_start: PhysicalAddress,
    /// Code.
    pub text: Range<usize>,
    /// Constants.
    pub constants: Range<usize>,
    /// Data, zeroed data and the boot stack.
    pub data: Range<usize>,
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    static __boot_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __image_end: u8;
}

#[cfg(target_os = "none")]
impl Image {
    /// The running kernel.
    pub fn this() -> Self {
        Self {
            boot_start: PhysicalAddress(&raw const __boot_start as u64),
            text: &raw const __text_start as usize..&raw const __text_end as usize,
            constants: &raw const __rodata_start as usize..&raw const __rodata_end as usize,
            data: &raw const __data_start as usize..&raw const __image_end as usize,
        }
    }
}

impl Image {
    /// The physical address of an image address.
    pub const fn physical(address: usize) -> PhysicalAddress {
        PhysicalAddress((address - OFFSET) as u64)
    }

    /// All of it, in physical memory.
    pub fn whole(&self) -> Range<u64> {
        self.boot_start.0..Self::physical(self.data.end).0
    }

    /// Code and constants, in physical memory: never written after loading.
    pub fn read_only(&self) -> Range<u64> {
        Self::physical(self.text.start).0..Self::physical(self.constants.end).0
    }

    /// The parts with what is allowed in each.
    pub(crate) fn parts(&self) -> [(Range<usize>, Kind); 3] {
        [(self.text.clone(), Kind::Code), (self.constants.clone(), Kind::Constants), (self.data.clone(), Kind::Data)]
    }
}
