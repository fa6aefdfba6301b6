//! Building a kernel's own page tables: the walk, the tables made on the way, the largest page that fits.
//!
//! An entry that is present is never replaced: a page that is mapped already stays as it was. So no translation in use is
//! ever changed, and the order of stores that some architectures demand for a change (break before make) never arises.

use crate::{Frame, PAGE_SIZE, PageTableEntry, PhysicalAddress, VirtualAddress};

const ENTRIES: usize = 512;

/// The levels of a page table, named by what one of their entries maps. Lowest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Giant,
    /// 512 GiB: tables only.
    Root,
}

impl Level {
    /// From the root down.
    pub const DOWNWARD: [Self; 4] = [Self::Root, Self::Giant, Self::Large, Self::Page];

    const fn shift(self) -> u32 {
        match self {
            Self::Page => 12,
            Self::Large => 21,
            Self::Giant => 30,
            Self::Root => 39,
        }
    }

    /// Bytes that one entry maps.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Which entry of a table of this level an address belongs to.
    pub const fn index(self, address: usize) -> usize {
        address >> self.shift() & (ENTRIES - 1)
    }
}

/// An entry that can map the kernel's own memory.
pub trait KernelEntry: PageTableEntry {
    /// What a range of the kernel's memory is.
    type Kind: Copy;
    /// A page of `level`, for the kernel alone.
    fn kernel_page(frame: Frame, kind: Self::Kind, level: Level) -> Self;
    /// A table under which the pages decide what is allowed.
    fn kernel_table(frame: Frame) -> Self;
}

/// Where tables stand while they are built.
pub trait TableMemory {
    /// Their entries.
    type Entry: KernelEntry;
    /// Whether the CPU has pages of 1 GiB.
    fn has_giant_pages(&self) -> bool;
    /// A zeroed frame for a table.
    fn allocate(&mut self) -> Frame;
    /// An entry. `index` is below 512.
    fn read(&self, table: Frame, index: usize) -> Self::Entry;
    /// Writes an entry. The table is complete before it is linked.
    fn write(&mut self, table: Frame, index: usize, entry: Self::Entry);
}

type Kind<M> = <<M as TableMemory>::Entry as KernelEntry>::Kind;

/// Maps `bytes` bytes from `start` to `target` with the largest pages that fit. All three are multiples of a page.
pub fn map<M: TableMemory>(
    memory: &mut M,
    root: Frame,
    start: VirtualAddress,
    target: PhysicalAddress,
    bytes: u64,
    kind: Kind<M>,
) {
    let mut done = 0;
    while done < bytes {
        let (address, physical) = (start.0 + done as usize, target.0 + done);
        let level = largest_page(memory, address as u64 | physical, bytes - done);
        map_one(memory, root, VirtualAddress(address), Frame::containing(PhysicalAddress(physical)), kind, level);
        done += level.bytes();
    }
}

/// Maps one page of `level`.
pub fn map_one<M: TableMemory>(
    memory: &mut M,
    root: Frame,
    page: VirtualAddress,
    frame: Frame,
    kind: Kind<M>,
    level: Level,
) {
    let table = table_for(memory, root, page, level);
    let index = level.index(page.0);
    if !memory.read(table, index).is_present() {
        memory.write(table, index, M::Entry::kernel_page(frame, kind, level));
    }
}

/// The table of `level` that holds the entry for an address, with all tables above it.
pub fn table_for<M: TableMemory>(memory: &mut M, root: Frame, address: VirtualAddress, level: Level) -> Frame {
    let above = Level::DOWNWARD.into_iter().take_while(|&above| above > level);
    above.fold(root, |table, above| next_table(memory, table, above.index(address.0)))
}

/// The table that an entry points to, made if there is none.
fn next_table<M: TableMemory>(memory: &mut M, table: Frame, index: usize) -> Frame {
    let entry = memory.read(table, index);
    if entry.is_present() {
        return entry.frame();
    }
    let frame = memory.allocate();
    memory.write(table, index, M::Entry::kernel_table(frame));
    frame
}

/// The largest page at an address with these bits (virtual or physical) that is no longer than `bytes`.
fn largest_page<M: TableMemory>(memory: &M, bits: u64, bytes: u64) -> Level {
    let fits = |level: &Level| bits.is_multiple_of(level.bytes()) && bytes >= level.bytes();
    let giant = memory.has_giant_pages().then_some(Level::Giant);
    giant.into_iter().chain([Level::Large]).find(fits).unwrap_or(Level::Page)
}

const _: () = assert!(Level::Page.bytes() == PAGE_SIZE as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;
    use alloc::{vec, vec::Vec};

    /// The frame, and in the low bits: present, page, the level.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Entry(u64);

    impl PageTableEntry for Entry {
        fn from_raw(raw: u64) -> Self {
            Self(raw)
        }
        fn to_raw(self) -> u64 {
            self.0
        }
        fn empty() -> Self {
            Self(0)
        }
        fn table(frame: Frame) -> Self {
            Self(frame.start().0 | 1)
        }
        fn user_page(frame: Frame, _access: Access) -> Self {
            Self(frame.start().0 | 1)
        }
        fn withdrawn(frame: Frame) -> Self {
            Self(frame.start().0 | 2)
        }
        fn is_present(self) -> bool {
            self.0 & 1 != 0
        }
        fn frame(self) -> Frame {
            Frame::containing(PhysicalAddress(self.0))
        }
        fn access(self) -> Access {
            Access::empty()
        }
    }

    impl KernelEntry for Entry {
        type Kind = ();
        fn kernel_page(frame: Frame, (): (), level: Level) -> Self {
            Self(frame.start().0 | 3 | (level as u64) << 2)
        }
        fn kernel_table(frame: Frame) -> Self {
            Self(frame.start().0 | 1)
        }
    }

    /// Frame `n` is table `n`.
    struct Tables(Vec<[u64; ENTRIES]>, bool);

    impl TableMemory for Tables {
        type Entry = Entry;
        fn has_giant_pages(&self) -> bool {
            self.1
        }
        fn allocate(&mut self) -> Frame {
            self.0.push([0; ENTRIES]);
            Frame::from_number(self.0.len() as u64 - 1)
        }
        fn read(&self, table: Frame, index: usize) -> Entry {
            Entry(self.0[table.number() as usize][index])
        }
        fn write(&mut self, table: Frame, index: usize, entry: Entry) {
            self.0[table.number() as usize][index] = entry.0;
        }
    }

    fn translate(tables: &Tables, address: usize) -> Option<(u64, Level)> {
        let mut table = Frame::from_number(0);
        for level in Level::DOWNWARD {
            let entry = tables.read(table, level.index(address));
            if !entry.is_present() {
                return None;
            }
            if entry.0 & 2 != 0 {
                return Some((entry.frame().start().0 + address as u64 % level.bytes(), level));
            }
            table = entry.frame();
        }
        None
    }

    const START: usize = 0xffff_8000_4000_0000;
    const BYTES: u64 = (1 << 30) + (1 << 21) + 4096;

    fn mapped(giant: bool) -> Tables {
        let mut tables = Tables(vec![[0; ENTRIES]], giant);
        let root = Frame::from_number(0);
        map(&mut tables, root, VirtualAddress(START), PhysicalAddress(0x4000_0000), BYTES, ());
        tables
    }

    #[test]
    fn ranges_are_mapped_with_the_largest_pages_that_fit() {
        let tables = mapped(true);
        let at = |offset: usize| translate(&tables, START + offset);
        assert_eq!(at(5), Some((0x4000_0005, Level::Giant)));
        assert_eq!(at(1 << 30), Some((0x8000_0000, Level::Large)));
        assert_eq!(at((1 << 30) + (1 << 21)), Some((0x8020_0000, Level::Page)));
        assert_eq!(at(BYTES as usize), None);
        assert_eq!(translate(&tables, START - 1), None);
    }

    #[test]
    fn a_cpu_without_giant_pages_gets_none() {
        let tables = mapped(false);
        assert_eq!(translate(&tables, START + 5), Some((0x4000_0005, Level::Large)));
        assert_eq!(translate(&tables, START + (1 << 30) - 1), Some((0x7fff_ffff, Level::Large)));
    }

    #[test]
    fn an_entry_that_is_present_is_never_replaced() {
        let mut tables = mapped(true);
        let before = tables.0.clone();
        let page = VirtualAddress(START + (1 << 30) + (1 << 21));
        map_one(&mut tables, Frame::from_number(0), page, Frame::from_number(7), (), Level::Page);
        assert_eq!(tables.0, before);
    }
}
