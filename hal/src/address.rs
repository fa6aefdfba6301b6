//! Addresses: physical and virtual ones are different types, and a [`Frame`] is aligned by construction.

use core::fmt;

/// Bytes in a page and in a frame, on every machine.
pub const PAGE_SIZE: usize = 4096;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysicalAddress(pub u64);

/// A virtual address; canonical or not, mapped or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtualAddress(pub usize);

/// A page-sized, page-aligned piece of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u64);

impl Frame {
    /// The frame with this number (address / page size). Numbers above 2^52 do not exist on any machine.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The frame that contains `address`.
    pub const fn containing(address: PhysicalAddress) -> Self {
        Self(address.0 / PAGE_SIZE as u64)
    }

    /// address / page size.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The address of its first byte.
    pub const fn start(self) -> PhysicalAddress {
        PhysicalAddress(self.0 * PAGE_SIZE as u64)
    }
}

impl VirtualAddress {
    /// The start of the page that contains the address.
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// The offset in that page.
    pub const fn page_offset(self) -> usize {
        self.0 & (PAGE_SIZE - 1)
    }
}

bitflags::bitflags! {
    /// What user mode may do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u8 {
        /// Load.
        const READ = 1 << 0;
        /// Store. Implies `READ` on every machine.
        const WRITE = 1 << 1;
        /// Fetch instructions. Never together with `WRITE`.
        const EXECUTE = 1 << 2;
    }
}

macro_rules! hexadecimal {
    ($($name:ident => $value:expr),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value: fn(&Self) -> u64 = $value;
                write!(f, "{:#x}", value(self))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
hexadecimal!(PhysicalAddress => |a| a.0, VirtualAddress => |a| a.0 as u64, Frame => |f| f.start().0);
