//! Page tables: the kernel's half, the direct map, device mappings and the entries of user pages.
//!
//! Layout of the upper half: direct map of all RAM from [`DIRECT_MAP`], kernel stacks from [`STACKS`] with a guard page
//! under each, device registers from [`DEVICES`], the kernel's image at -2 GiB.

use tessera_hal::PhysicalAddress;

/// Where physical address 0 stands in the direct map.
pub const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
/// The window of kernel stacks.
pub const STACKS: usize = 0xffff_c000_0000_0000;
/// The window of device mappings.
pub const DEVICES: usize = 0xffff_d000_0000_0000;

/// Where a physical address of RAM stands in the direct map. Device registers and firmware tables outside RAM are not
/// there.
pub const fn direct(address: PhysicalAddress) -> *mut u8 {
    (DIRECT_MAP + address.0 as usize) as *mut u8
}
