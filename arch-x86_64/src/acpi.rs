//! What the firmware's ACPI tables say about the machine: CPUs, interrupt controllers and reference clocks.
//!
//! The `acpi` crate validates the RSDP, walks the RSDT or XSDT and checks the sums. It trusts addresses and lengths,
//! so `Reader` stands between it and memory: whatever lies outside known memory, or is shorter than a header, reads
//! as zeros, which no signature matches. The MADT's entries are read by [`crate::madt`].
//!
//! Runs once, on the boot CPU, before there is a heap. Allocates nothing.

use crate::madt::{self, ApicId, Madt, MadtError};
use acpi::address::AddressSpace;
use acpi::fadt::Fadt;
use acpi::sdt::{SdtHeader, Signature};
use acpi::{AcpiError as CrateError, AcpiHandler, AcpiTable, AcpiTables, PhysicalMapping};
use core::{fmt, mem, ptr::NonNull, slice};
use tessera_hal::PhysicalAddress;

/// How physical memory is read.
pub trait PhysicalMemory: Clone {
    /// Where the `length` bytes from `start` are mapped for reading; `None` unless all of them are.
    fn map(&self, start: PhysicalAddress, length: usize) -> Option<NonNull<u8>>;
}

/// The ACPI power-management timer: a counter at 3.579545 MHz behind an I/O port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PmTimerPort {
    /// The port.
    pub port: u16,
    /// Whether the counter has 32 bits and not 24.
    pub wide: bool,
}

/// What the tables say.
#[derive(Clone, Debug)]
pub struct Tables {
    /// CPUs and interrupt controllers; the boot CPU comes first.
    pub madt: Madt,
    /// Where the HPET's registers are, if there is one.
    pub hpet: Option<PhysicalAddress>,
    /// The power-management timer, if there is one.
    pub pm_timer: Option<PmTimerPort>,
}

/// Why the tables cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TablesError {
    /// There is no valid RSDP at this address.
    BadRsdp(PhysicalAddress),
    /// The RSDT or XSDT that the RSDP names is not one.
    BadRootTable,
    /// No MADT with a valid checksum is listed.
    NoMadt,
    /// The MADT says something impossible.
    Madt(MadtError),
}

impl fmt::Display for TablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRsdp(address) => write!(f, "ACPI: there is no valid RSDP at {address}"),
            Self::BadRootTable => write!(f, "ACPI: the RSDP names no valid RSDT or XSDT"),
            Self::NoMadt => write!(f, "ACPI: no valid MADT is listed"),
            Self::Madt(error) => write!(f, "ACPI: {error}"),
        }
    }
}

impl core::error::Error for TablesError {}

/// Reads the tables that the RSDP at `rsdp` leads to.
pub fn discover<M: PhysicalMemory>(memory: M, rsdp: PhysicalAddress, boot: ApicId) -> Result<Tables, TablesError> {
    check_rsdp_length(&memory, rsdp)?;
    let reader = Reader(memory);
    // SAFETY: `Reader` maps only memory that is there, and the RSDP's own length was checked.
    let tables = unsafe { AcpiTables::from_rsdp(reader, rsdp.0 as usize) }.map_err(|error| match error {
        CrateError::SdtInvalidSignature(_)
        | CrateError::SdtInvalidChecksum(_)
        | CrateError::SdtInvalidOemId(_)
        | CrateError::SdtInvalidTableId(_) => TablesError::BadRootTable,
        _ => TablesError::BadRsdp(rsdp),
    })?;
    let table = tables.find_table::<MadtTable>().map_err(|_| TablesError::NoMadt)?;
    let mut madt = madt::parse(body(&table)).map_err(TablesError::Madt)?;
    madt.put_first(boot).map_err(TablesError::Madt)?;
    Ok(Tables { madt, hpet: hpet(&tables), pm_timer: pm_timer(&tables) })
}

/// The crate sums the bytes that the RSDP says it has, so that number must be plausible first.
fn check_rsdp_length<M: PhysicalMemory>(memory: &M, rsdp: PhysicalAddress) -> Result<(), TablesError> {
    const LARGEST: u32 = 4096;
    let start = memory.map(rsdp, LARGEST as usize).ok_or(TablesError::BadRsdp(rsdp))?;
    // SAFETY: `PhysicalMemory::map` vouches for the bytes; nothing writes to the firmware's tables.
    let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), 36) };
    let length = u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
    let plausible = bytes[15] == 0 || (36..=LARGEST).contains(&length);
    if plausible { Ok(()) } else { Err(TablesError::BadRsdp(rsdp)) }
}

/// Addresses of HPET blocks are in memory space; anything else is not an HPET that we can read.
fn hpet<M: PhysicalMemory>(tables: &AcpiTables<Reader<M>>) -> Option<PhysicalAddress> {
    let table = tables.find_table::<HpetTable>().ok()?;
    let bytes = body(&table);
    // Offset 4: a generic address structure (space, width, offset, access size, address).
    let in_memory = *bytes.get(4)? == 0;
    let address = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (in_memory && address != 0 && address.is_multiple_of(8)).then_some(PhysicalAddress(address))
}

fn pm_timer<M: PhysicalMemory>(tables: &AcpiTables<Reader<M>>) -> Option<PmTimerPort> {
    let fadt = tables.find_table::<Fadt>().ok()?;
    let block = fadt.pm_timer_block().ok()??;
    let flags = fadt.flags;
    let port = u16::try_from(block.address).ok()?;
    (block.address_space == AddressSpace::SystemIo).then_some(PmTimerPort { port, wide: flags.pm_timer_is_32_bit() })
}

macro_rules! plain_table {
    ($name:ident, $signature:ident) => {
        /// A table of which only the header is typed.
        #[repr(transparent)]
        struct $name(SdtHeader);

        // SAFETY: the type is the header that every ACPI table starts with.
        unsafe impl AcpiTable for $name {
            const SIGNATURE: Signature = Signature::$signature;

            fn header(&self) -> &SdtHeader {
                &self.0
            }
        }
    };
}
plain_table!(MadtTable, MADT);
plain_table!(HpetTable, HPET);

/// The bytes behind the header.
fn body<H: AcpiHandler, T: AcpiTable>(table: &PhysicalMapping<H, T>) -> &[u8] {
    let header = mem::size_of::<SdtHeader>();
    let start = table.virtual_start().cast::<u8>().as_ptr().cast_const();
    // SAFETY: `Reader` has mapped `region_length` bytes, and refuses tables shorter than their header.
    unsafe { slice::from_raw_parts(start.wrapping_add(header), table.region_length() - header) }
}

/// Hands memory to the `acpi` crate, and zeros where there is none.
#[derive(Clone)]
struct Reader<M>(M);

/// What an impossible address reads as: no signature is zero. As large as any fixed structure that is mapped.
static NOTHING: [u64; 64] = [0; 64];

impl<M: PhysicalMemory> Reader<M> {
    fn find(&self, address: usize, size: usize) -> Option<NonNull<u8>> {
        let start = self.0.map(PhysicalAddress(address as u64), size)?;
        if size != mem::size_of::<SdtHeader>() {
            return Some(start);
        }
        // A header (or the RSDP, which has text in this place). The crate subtracts its size from the length.
        let length = start.as_ptr().cast_const().wrapping_add(4).cast::<u32>();
        // SAFETY: four of the 36 bytes that were mapped.
        let length = unsafe { length.read_unaligned() };
        (length as usize >= size).then_some(start)
    }
}

impl<M: PhysicalMemory> AcpiHandler for Reader<M> {
    unsafe fn map_physical_region<T>(&self, physical_address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let size = size.max(mem::size_of::<T>());
        let found = self.find(physical_address, size);
        let (start, length) = match found {
            Some(start) => (start, size),
            None => (NonNull::from(&NOTHING).cast(), mem::size_of_val(&NOTHING)),
        };
        // SAFETY: `start` is mapped for `length` bytes, for as long as the kernel runs.
        unsafe { PhysicalMapping::new(physical_address, start.cast(), length, length, self.clone()) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
