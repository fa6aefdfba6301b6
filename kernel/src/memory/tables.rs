//! The page tables of one space: four levels of 512 entries, reached through the direct map.
//!
//! Pure mechanism. What may stand where is decided by the regions of the space, whose lock the caller holds. An entry of
//! the lowest level is empty, present, or withdrawn (no access, but it keeps its frame); one of a table is empty or
//! present. Walks skip what hangs below an empty entry, and look at a bounded number of entries.

use super::{direct, region::Regions};
use core::{ops::Range, sync::atomic::Ordering};
use hal::{Access, Frame, Machine, PAGE_SIZE, PageTableEntry};

const ENTRIES: usize = 512;
/// The level of the root.
pub const LEVELS: u32 = 4;
/// Entries that one step looks at.
pub const ENTRIES_PER_STEP: usize = ENTRIES;
/// The most frames that one step takes out.
pub const FRAMES_PER_STEP: usize = 64;

/// Frames that were taken out in one step.
pub type FrameList = heapless::Vec<Frame, FRAMES_PER_STEP>;

/// What one entry of a table of `level` covers, as a power of two.
const fn shift(level: u32) -> u32 {
    12 + 9 * (level - 1)
}

/// The index of `address` in the table of `level`.
const fn index(address: usize, level: u32) -> usize {
    (address >> shift(level)) % ENTRIES
}

/// What the entry of a table of `level` covers that holds `address`.
const fn span(address: usize, level: u32) -> Range<usize> {
    let start = address >> shift(level) << shift(level);
    start..start + (1 << shift(level))
}

/// The entry for a page with this access, which may be none.
pub fn page_entry<E: PageTableEntry>(frame: Frame, access: Access) -> E {
    if access.is_empty() { E::withdrawn(frame) } else { E::user_page(frame, access) }
}

pub fn entry<M: Machine>(machine: &M, table: Frame, address: usize, level: u32) -> M::Entry {
    M::Entry::from_raw(direct::word64(machine, table, index(address, level) * 8).load(Ordering::Relaxed))
}

/// The release pairs with the table walkers of other CPUs: a table or page is complete before it is linked.
pub fn set_entry<M: Machine>(machine: &M, table: Frame, address: usize, level: u32, entry: M::Entry) {
    direct::word64(machine, table, index(address, level) * 8).store(entry.to_raw(), Ordering::Release);
}

/// The lowest table for an address. `None`: there is none.
pub fn lowest_table<M: Machine>(machine: &M, root: Frame, address: usize) -> Option<Frame> {
    (2..=LEVELS).rev().try_fold(root, |table, level| {
        let entry = entry(machine, table, address, level);
        entry.is_present().then(|| entry.frame())
    })
}

/// The lowest table for an address, made with all above it where there is none.
pub fn make_lowest_table<M: Machine>(machine: &M, root: Frame, address: usize, allocate: impl Fn() -> Frame) -> Frame {
    (2..=LEVELS).rev().fold(root, |table, level| {
        let entry = entry(machine, table, address, level);
        if entry.is_present() {
            return entry.frame();
        }
        let below = allocate();
        set_entry(machine, table, address, level, M::Entry::table(below));
        below
    })
}

/// Gives pages of one region another access, a bounded number at a time.
pub struct Retouch<'a, M: Machine> {
    pub machine: &'a M,
    pub access: Access,
    /// Pages that may be changed yet.
    pub pages: usize,
    /// Entries that may be looked at yet.
    pub entries: usize,
}

impl<M: Machine> Retouch<'_, M> {
    /// Changes the pages of `range` below a table. Answers how far it has come.
    pub fn below(&mut self, table: Frame, level: u32, range: Range<usize>) -> usize {
        let mut at = range.start;
        while at < range.end && self.entries > 0 {
            self.entries -= 1;
            let next = range.end.min(span(at, level).end);
            let entry = entry(self.machine, table, at, level);
            if level > 1 && entry.is_present() {
                at = self.below(entry.frame(), level - 1, at..next);
                if at < next {
                    return at;
                }
            } else if level == 1 && !entry.is_empty() {
                if self.pages == 0 {
                    return at;
                }
                self.pages -= 1;
                change_page(self.machine, table, at, entry, self.access);
            }
            at = next;
        }
        at
    }
}

/// Gives a page that has a frame another access. Code is published before it can be fetched.
pub fn change_page<M: Machine>(machine: &M, table: Frame, page: usize, entry: M::Entry, access: Access) {
    if access.contains(Access::EXECUTE) && !entry.access().contains(Access::EXECUTE) {
        machine.code_written(entry.frame());
    }
    set_entry(machine, table, page, 1, page_entry(entry.frame(), access));
}

/// Takes the pages of one region out, which is in `regions` no more, and the tables that no other region needs.
pub struct Removal<'a, M: Machine> {
    pub machine: &'a M,
    pub regions: &'a Regions<M>,
    /// Whether the pages' frames are the space's own, to be freed.
    pub is_private: bool,
    /// Entries that may be looked at yet.
    pub entries: usize,
    /// How many frames may be in the list.
    pub most: usize,
    /// What is to be freed once no CPU can reach it.
    pub frames: &'a mut FrameList,
}

impl<M: Machine> Removal<'_, M> {
    /// Takes out what hangs in `range` below a table. Answers how far it has come; before that nothing is left.
    pub fn below(&mut self, table: Frame, level: u32, range: Range<usize>) -> usize {
        let mut at = range.start;
        while at < range.end && self.entries > 0 {
            self.entries -= 1;
            let next = range.end.min(span(at, level).end);
            let entry = entry(self.machine, table, at, level);
            if level > 1 && entry.is_present() {
                let reached = self.below(entry.frame(), level - 1, at..next);
                if reached < next {
                    return reached;
                }
                if !self.regions.touches(&span(at, level)) && !self.take(table, at, level, entry.frame()) {
                    // The table goes in the next step, which looks at its last page once more.
                    return next - PAGE_SIZE;
                }
            } else if level == 1 && !entry.is_empty() {
                if !self.is_private {
                    set_entry(self.machine, table, at, level, M::Entry::empty());
                } else if !self.take(table, at, level, entry.frame()) {
                    return at;
                }
            }
            at = next;
        }
        at
    }

    /// Unlinks a frame. Answers whether there was room for it.
    fn take(&mut self, table: Frame, at: usize, level: u32, frame: Frame) -> bool {
        if self.frames.len() >= self.most || self.frames.push(frame).is_err() {
            return false;
        }
        set_entry(self.machine, table, at, level, M::Entry::empty());
        true
    }
}
