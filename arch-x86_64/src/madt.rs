//! The Multiple APIC Description Table: which CPUs and interrupt controllers there are (ACPI 6.5, section 5.2.12).
//!
//! [`parse`] is a plain function over the bytes behind the table's header. It trusts nothing: every length is checked,
//! an entry that runs past the table ends in an error that names its offset. No unsafe code, no allocation.
//!
//! Invariants of a [`Madt`]: the ids of `cpus` are unique, and each is enabled; the boot CPU comes first once
//! [`Madt::put_first`] was called.

use core::fmt;
use heapless::Vec;

/// The most CPUs that Tessera runs on one machine.
pub const MAX_CPUS: usize = 512;
/// The most IO-APICs and overrides that are kept; real machines have 1 to 8, and at most 16 overrides (ISA lines).
const MAX_IO_APICS: usize = 16;
const MAX_OVERRIDES: usize = 24;

const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_ADDRESS: u8 = 5;
const LOCAL_X2APIC: u8 = 9;

/// The CPU may be started now.
const FLAG_ENABLED: u32 = 1;
/// An 8-bit APIC id that addresses every CPU, so no CPU has it.
const XAPIC_BROADCAST: u32 = 0xff;
/// The same in 32 bits.
const X2APIC_BROADCAST: u32 = u32::MAX;

/// The id of a local APIC: 8 bits in xAPIC mode, 32 in x2APIC mode. The code that starts CPUs reads arrays of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct ApicId(pub u32);

impl fmt::Display for ApicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// One IO-APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApicEntry {
    /// The physical address of its registers.
    pub address: u32,
    /// The global system interrupt of its pin 0.
    pub first_line: u32,
}

/// How the level on an interrupt pin is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polarity {
    /// Asserted when high.
    ActiveHigh,
    /// Asserted when low.
    ActiveLow,
}

/// When an interrupt pin makes an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Once for each assertion.
    Edge,
    /// For as long as it is asserted.
    Level,
}

/// An ISA interrupt that does not arrive as the line of its own number, high and edge-triggered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceOverride {
    /// The ISA interrupt, 0 to 15.
    pub isa: u8,
    /// The global system interrupt that it arrives as.
    pub line: u32,
    /// Its polarity.
    pub polarity: Polarity,
    /// Its trigger mode.
    pub trigger: Trigger,
}

/// What the table says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Madt {
    /// The physical address of the local APICs' registers in xAPIC mode.
    pub local_apic: u64,
    /// Enabled CPUs, in the table's order.
    pub cpus: Vec<ApicId, MAX_CPUS>,
    /// Enabled CPUs beyond [`MAX_CPUS`], which stay unused.
    pub cpus_left_out: usize,
    /// The IO-APICs.
    pub io_apics: Vec<IoApicEntry, MAX_IO_APICS>,
    /// Overrides of ISA interrupts.
    pub overrides: Vec<SourceOverride, MAX_OVERRIDES>,
}

/// What is wrong with the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadtError {
    /// It ends before its fixed part does.
    TooShort {
        /// How many bytes follow the header.
        length: usize,
    },
    /// An entry says a length that it cannot have.
    BadEntryLength {
        /// Where the entry starts, from the table's start.
        offset: usize,
        /// Its type.
        kind: u8,
        /// The length that it says.
        length: u8,
    },
    /// Two enabled CPUs have one id.
    DuplicateCpu(ApicId),
    /// No CPU is enabled.
    NoCpu,
    /// The CPU that runs this is not among the enabled ones.
    BootCpuMissing(ApicId),
    /// More IO-APICs or overrides than any machine has.
    TooManyControllers,
    /// An override of an ISA interrupt with reserved flags or an impossible number.
    BadOverride {
        /// The ISA interrupt.
        isa: u8,
        /// The flags.
        flags: u16,
    },
}

impl fmt::Display for MadtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length } => write!(f, "the MADT has only {length} bytes behind its header"),
            Self::BadEntryLength { offset, kind, length } => {
                write!(f, "the MADT entry at offset {offset} (type {kind}) says an impossible length, {length}")
            }
            Self::DuplicateCpu(id) => write!(f, "the MADT lists two CPUs with APIC id {id}"),
            Self::NoCpu => write!(f, "the MADT lists no enabled CPU"),
            Self::BootCpuMissing(id) => write!(f, "the MADT does not list the boot CPU (APIC id {id})"),
            Self::TooManyControllers => {
                write!(f, "the MADT lists more than {MAX_IO_APICS} IO-APICs or {MAX_OVERRIDES} overrides")
            }
            Self::BadOverride { isa, flags } => {
                write!(f, "the MADT overrides ISA interrupt {isa} with impossible flags {flags:#x}")
            }
        }
    }
}

impl core::error::Error for MadtError {}

/// Length of the ACPI table header, which `parse` is not given but counts in the offsets it reports.
const HEADER_LENGTH: usize = 36;
/// The local APIC address and the flags.
const FIXED_LENGTH: usize = 8;

/// Reads the table from the bytes that follow its header.
pub fn parse(body: &[u8]) -> Result<Madt, MadtError> {
    let mut rest = body.get(FIXED_LENGTH..).ok_or(MadtError::TooShort { length: body.len() })?;
    let mut madt = Madt { local_apic: u64::from(u32_at(body, 0)), ..Madt::default() };
    while !rest.is_empty() {
        let offset = HEADER_LENGTH + body.len() - rest.len();
        let kind = rest[0];
        let length = rest.get(1).copied().unwrap_or(0);
        let bad = MadtError::BadEntryLength { offset, kind, length };
        if usize::from(length) < minimum_length(kind) || usize::from(length) > rest.len() {
            return Err(bad);
        }
        let (entry, after) = rest.split_at(usize::from(length));
        madt.add(kind, entry)?;
        rest = after;
    }
    if madt.cpus.is_empty() { Err(MadtError::NoCpu) } else { Ok(madt) }
}

/// How long an entry must be for its fields to be there.
fn minimum_length(kind: u8) -> usize {
    match kind {
        LOCAL_APIC => 8,
        IO_APIC | LOCAL_APIC_ADDRESS => 12,
        SOURCE_OVERRIDE => 10,
        LOCAL_X2APIC => 16,
        _ => 2,
    }
}

impl Madt {
    /// Moves the boot CPU to the front; the others keep their order.
    pub fn put_first(&mut self, boot: ApicId) -> Result<(), MadtError> {
        let position = self.cpus.iter().position(|&id| id == boot).ok_or(MadtError::BootCpuMissing(boot))?;
        self.cpus[..=position].rotate_right(1);
        Ok(())
    }

    /// The line that an ISA interrupt arrives on.
    pub fn isa_line(&self, isa: u8) -> u32 {
        self.overrides.iter().find(|found| found.isa == isa).map_or(u32::from(isa), |found| found.line)
    }

    /// The polarity and trigger mode of a line: as overridden, else as the ISA bus or PCI has them.
    pub fn signalling(&self, line: u32) -> (Polarity, Trigger) {
        match self.overrides.iter().find(|found| found.line == line) {
            Some(found) => (found.polarity, found.trigger),
            None if line < 16 => (Polarity::ActiveHigh, Trigger::Edge),
            None => (Polarity::ActiveLow, Trigger::Level),
        }
    }

    fn add(&mut self, kind: u8, entry: &[u8]) -> Result<(), MadtError> {
        match kind {
            LOCAL_APIC => self.add_cpu(u32::from(entry[3]), XAPIC_BROADCAST, u32_at(entry, 4)),
            LOCAL_X2APIC => self.add_cpu(u32_at(entry, 4), X2APIC_BROADCAST, u32_at(entry, 8)),
            IO_APIC => self
                .io_apics
                .push(IoApicEntry { address: u32_at(entry, 4), first_line: u32_at(entry, 8) })
                .map_err(|_| MadtError::TooManyControllers),
            SOURCE_OVERRIDE => self.add_override(entry[3], u32_at(entry, 4), u16_at(entry, 8)),
            LOCAL_APIC_ADDRESS => {
                self.local_apic = u64::from(u32_at(entry, 4)) | u64::from(u32_at(entry, 8)) << 32;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// CPUs that are only online-capable are for hot-plug: they cannot be started now.
    fn add_cpu(&mut self, id: u32, broadcast: u32, flags: u32) -> Result<(), MadtError> {
        if flags & FLAG_ENABLED == 0 || id == broadcast {
            return Ok(());
        }
        let id = ApicId(id);
        if self.cpus.contains(&id) {
            return Err(MadtError::DuplicateCpu(id));
        }
        if self.cpus.push(id).is_err() {
            self.cpus_left_out += 1;
        }
        Ok(())
    }

    fn add_override(&mut self, isa: u8, line: u32, flags: u16) -> Result<(), MadtError> {
        let bad = MadtError::BadOverride { isa, flags };
        // 00 means "as the bus has it", and on the ISA bus that is high and edge-triggered.
        let polarity = match flags & 3 {
            0 | 1 => Polarity::ActiveHigh,
            3 => Polarity::ActiveLow,
            _ => return Err(bad),
        };
        let trigger = match flags >> 2 & 3 {
            0 | 1 => Trigger::Edge,
            3 => Trigger::Level,
            _ => return Err(bad),
        };
        if isa > 15 {
            return Err(bad);
        }
        let entry = SourceOverride { isa, line, polarity, trigger };
        self.overrides.push(entry).map_err(|_| MadtError::TooManyControllers)
    }
}

/// The little-endian word at `offset`. The caller has checked the length.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec as StdVec;

    fn table(entries: &[&[u8]]) -> StdVec<u8> {
        let mut body = 0xfee0_0000_u32.to_le_bytes().to_vec();
        body.extend(1_u32.to_le_bytes());
        for entry in entries {
            body.extend(*entry);
        }
        body
    }

    fn xapic(id: u8, flags: u8) -> [u8; 8] {
        [0, 8, id, id, flags, 0, 0, 0]
    }

    fn x2apic(id: u32, flags: u8) -> [u8; 16] {
        let mut entry = [9, 16, 0, 0, 0, 0, 0, 0, flags, 0, 0, 0, 1, 0, 0, 0];
        entry[4..8].copy_from_slice(&id.to_le_bytes());
        entry
    }

    #[test]
    fn both_kinds_of_cpu_entries_are_read_and_disabled_ones_are_not() {
        let body = table(&[&xapic(0, 1), &xapic(7, 0), &xapic(9, 2), &xapic(255, 1), &x2apic(0x1234, 1)]);
        let madt = parse(&body).unwrap();
        assert_eq!(madt.cpus, [ApicId(0), ApicId(0x1234)]);
        assert_eq!(madt.local_apic, 0xfee0_0000);
    }

    #[test]
    fn the_boot_cpu_moves_to_the_front_and_the_rest_keep_their_order() {
        let mut madt = parse(&table(&[&xapic(2, 1), &xapic(4, 1), &xapic(6, 1)])).unwrap();
        madt.put_first(ApicId(4)).unwrap();
        assert_eq!(madt.cpus, [ApicId(4), ApicId(2), ApicId(6)]);
        assert_eq!(madt.put_first(ApicId(5)), Err(MadtError::BootCpuMissing(ApicId(5))));
    }

    #[test]
    fn controllers_and_overrides_are_read_and_defaults_fill_in() {
        let io_apic = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let timer = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
        let acpi = [2, 10, 0, 9, 9, 0, 0, 0, 0xf, 0];
        let madt = parse(&table(&[&xapic(0, 1), &io_apic, &timer, &acpi])).unwrap();
        assert_eq!(madt.io_apics, [IoApicEntry { address: 0xfec0_0000, first_line: 0 }]);
        assert_eq!((madt.isa_line(0), madt.isa_line(4)), (2, 4));
        assert_eq!(madt.signalling(9), (Polarity::ActiveLow, Trigger::Level));
        assert_eq!(madt.signalling(4), (Polarity::ActiveHigh, Trigger::Edge));
        assert_eq!(madt.signalling(16), (Polarity::ActiveLow, Trigger::Level));
    }

    #[test]
    fn tables_that_lie_are_refused_with_the_place() {
        let cpu = xapic(0, 1);
        let refused = |entries: &[&[u8]]| parse(&table(entries)).unwrap_err();
        assert_eq!(
            refused(&[&cpu, &[9, 0, 0]]),
            MadtError::BadEntryLength { offset: 36 + 8 + 8, kind: 9, length: 0 },
            "a zero length must not loop"
        );
        assert!(matches!(refused(&[&cpu, &[0, 8, 1]]), MadtError::BadEntryLength { length: 8, .. }));
        assert!(matches!(refused(&[&cpu, &[7]]), MadtError::BadEntryLength { kind: 7, length: 0, .. }));
        assert!(matches!(refused(&[&[9, 8, 0, 0, 0, 0, 0, 0]]), MadtError::BadEntryLength { kind: 9, .. }));
        assert_eq!(refused(&[&cpu, &x2apic(0, 1)]), MadtError::DuplicateCpu(ApicId(0)));
        assert_eq!(refused(&[&xapic(0, 0)]), MadtError::NoCpu);
        let reserved = [2, 10, 0, 3, 3, 0, 0, 0, 2, 0];
        assert_eq!(refused(&[&cpu, &reserved]), MadtError::BadOverride { isa: 3, flags: 2 });
        assert_eq!(parse(&[0; 7]).unwrap_err(), MadtError::TooShort { length: 7 });
    }

    #[test]
    fn sparse_ids_and_more_cpus_than_we_run_are_counted() {
        let entries: StdVec<_> = (0..600_u32).map(|index| x2apic(index * 3 + 1, 1)).collect();
        let entries: StdVec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
        let madt = parse(&table(&entries)).unwrap();
        assert_eq!((madt.cpus.len(), madt.cpus_left_out), (512, 88));
        assert_eq!(madt.cpus[511], ApicId(511 * 3 + 1));
    }
}
