//! The PVH start_info: what the loader tells. Layouts from Xen's public headers (`hvm_start_info`).
//!
//! Everything is read with bounds and copied at once, since the loader's memory is not reserved afterwards.

use core::fmt;
use tessera_hal::port::regions::Regions;
use tessera_hal::{PAGE_SIZE, PhysicalAddress};
use zerocopy::{FromBytes, transmute};

const MAGIC: u32 = 0x336e_c578;
/// Type of usable RAM in the memory map.
const RAM: u32 = 1;
const MAX_MAP_ENTRIES: u32 = 128;
/// The longest command line that is kept.
pub const MAX_COMMAND_LINE: usize = 2048;
/// What lies below 1 MiB belongs to firmware and to starting CPUs.
pub const LOW_MEMORY_END: u64 = 0x10_0000;

/// `hvm_start_info`, as it stands in memory.
#[derive(FromBytes)]
#[repr(C)]
struct Header {
    magic: u32,
    version: u32,
    _flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

/// `hvm_memmap_table_entry`.
#[derive(FromBytes)]
#[repr(C)]
struct MapEntry {
    start: u64,
    bytes: u64,
    kind: u32,
    _reserved: u32,
}

/// The part of `hvm_modlist_entry` that is used.
#[derive(FromBytes)]
#[repr(C)]
struct Module {
    start: u64,
    bytes: u64,
}

/// Why the loader's information cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartInfoError {
    /// The magic number is wrong: this is not a PVH start.
    Magic(u32),
    /// The version has no memory map.
    Version(u32),
    /// No usable memory.
    NoMemory,
    /// The command line is longer than [`MAX_COMMAND_LINE`].
    CommandLineTooLong,
    /// The command line is not UTF-8; the position of the first bad byte.
    CommandLineEncoding(usize),
}

impl fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "the loader's start_info has magic {magic:#x}, not a PVH start"),
            Self::Version(version) => write!(f, "the loader's start_info version {version} has no memory map"),
            Self::NoMemory => write!(f, "the loader's memory map has no usable memory above 1 MiB"),
            Self::CommandLineTooLong => write!(f, "the command line is longer than {MAX_COMMAND_LINE} bytes"),
            Self::CommandLineEncoding(at) => write!(f, "the command line is not UTF-8 at byte {at}"),
        }
    }
}

impl core::error::Error for StartInfoError {}

/// Reads physical memory: the direct map on the machine, a byte array in tests.
pub trait Physical {
    /// `N` bytes at `address`.
    fn read<const N: usize>(&self, address: u64) -> [u8; N];
}

/// What the loader told.
#[derive(Clone, Copy, Debug)]
pub struct StartInfo {
    /// All RAM.
    pub ram: Regions<128>,
    /// The ACPI root pointer, if the loader gave it.
    pub rsdp: Option<PhysicalAddress>,
    /// The first module: start and length in bytes.
    pub initrd: Option<(PhysicalAddress, usize)>,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_len: usize,
}

impl StartInfo {
    /// Reads the start_info at `address`.
    pub fn read(memory: &impl Physical, address: u64) -> Result<Self, StartInfoError> {
        let header: Header = transmute!(memory.read::<{ size_of::<Header>() }>(address));
        if header.magic != MAGIC {
            return Err(StartInfoError::Magic(header.magic));
        }
        if header.version < 1 {
            return Err(StartInfoError::Version(header.version));
        }
        let mut info = Self {
            ram: read_map(memory, header.memory_map, header.memory_map_entries),
            rsdp: (header.rsdp != 0).then_some(PhysicalAddress(header.rsdp)),
            initrd: read_initrd(memory, header.module_list, header.modules),
            command_line: [0; MAX_COMMAND_LINE],
            command_line_len: 0,
        };
        let usable =
            info.ram.as_slice().iter().any(|r| r.start.start().0 + r.frames * PAGE_SIZE as u64 > LOW_MEMORY_END);
        if !usable {
            return Err(StartInfoError::NoMemory);
        }
        info.read_command_line(memory, header.command_line)?;
        Ok(info)
    }

    /// The command line.
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_len]).unwrap_or_default()
    }

    fn read_command_line(&mut self, memory: &impl Physical, address: u64) -> Result<(), StartInfoError> {
        if address == 0 {
            return Ok(());
        }
        loop {
            let [byte] = memory.read(address + self.command_line_len as u64);
            if byte == 0 {
                break;
            }
            *self.command_line.get_mut(self.command_line_len).ok_or(StartInfoError::CommandLineTooLong)? = byte;
            self.command_line_len += 1;
        }
        core::str::from_utf8(&self.command_line[..self.command_line_len])
            .map(|_| ())
            .map_err(|error| StartInfoError::CommandLineEncoding(error.valid_up_to()))
    }
}

fn read_map(memory: &impl Physical, address: u64, entries: u32) -> Regions<128> {
    let mut ram = Regions::new();
    for index in 0..u64::from(entries.min(MAX_MAP_ENTRIES)) {
        let entry = address + index * size_of::<MapEntry>() as u64;
        let entry: MapEntry = transmute!(memory.read::<{ size_of::<MapEntry>() }>(entry));
        if entry.kind == RAM {
            // A list that is full leaves memory unused and nothing else.
            let _ = ram.add_bytes(entry.start, entry.bytes);
        }
    }
    ram
}

fn read_initrd(memory: &impl Physical, list: u64, count: u32) -> Option<(PhysicalAddress, usize)> {
    if count == 0 || list == 0 {
        return None;
    }
    let module: Module = transmute!(memory.read::<{ size_of::<Module>() }>(list));
    (module.bytes > 0).then_some((PhysicalAddress(module.start), module.bytes as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Bytes(Vec<u8>);
    impl Physical for Bytes {
        fn read<const N: usize>(&self, address: u64) -> [u8; N] {
            self.0[address as usize..address as usize + N].try_into().expect("in range")
        }
    }

    fn sample(magic: u32, version: u32, command_line: &[u8]) -> Bytes {
        let mut bytes = std::vec![0; 0x400];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &magic.to_le_bytes());
        put(4, &version.to_le_bytes());
        put(12, &1u32.to_le_bytes());
        put(16, &0x100u64.to_le_bytes());
        put(24, &0x200u64.to_le_bytes());
        put(32, &0xf5a0u64.to_le_bytes());
        put(40, &0x80u64.to_le_bytes());
        put(48, &2u32.to_le_bytes());
        put(0x80, &0x10_0000u64.to_le_bytes());
        put(0x88, &0x40_0000u64.to_le_bytes());
        put(0x90, &RAM.to_le_bytes());
        put(0x98, &0x100_0000u64.to_le_bytes());
        put(0xa0, &0x1000u64.to_le_bytes());
        put(0xa8, &2u32.to_le_bytes());
        put(0x100, &0x30_0000u64.to_le_bytes());
        put(0x108, &77u64.to_le_bytes());
        put(0x200, command_line);
        Bytes(bytes)
    }

    #[test]
    fn map_modules_and_command_line_are_read() {
        let info = StartInfo::read(&sample(MAGIC, 1, b"cpus=4 policy=wfq\0"), 0).expect("valid");
        assert_eq!(info.command_line(), "cpus=4 policy=wfq");
        assert_eq!(info.initrd, Some((PhysicalAddress(0x30_0000), 77)));
        assert_eq!(info.rsdp, Some(PhysicalAddress(0xf5a0)));
        assert_eq!(info.ram.as_slice().len(), 1, "reserved memory is no RAM");
    }

    #[test]
    fn a_wrong_start_is_refused_with_its_reason() {
        assert_eq!(StartInfo::read(&sample(7, 1, b"\0"), 0).err(), Some(StartInfoError::Magic(7)));
        assert_eq!(StartInfo::read(&sample(MAGIC, 0, b"\0"), 0).err(), Some(StartInfoError::Version(0)));
        assert_eq!(
            StartInfo::read(&sample(MAGIC, 1, b"a=\xff\0"), 0).err(),
            Some(StartInfoError::CommandLineEncoding(2))
        );
        let mut endless = sample(MAGIC, 1, b"");
        endless.0.resize(0x200 + MAX_COMMAND_LINE + 1, b'x');
        endless.0[0x200..].fill(b'x');
        assert_eq!(StartInfo::read(&endless, 0).err(), Some(StartInfoError::CommandLineTooLong));
    }
}
