//! A user address space: four levels of 512 entries, walked through the direct map.
//!
//! The space owns its tables and every page mapped in it; they are freed in bounded steps by
//! [`AddressSpace::tear_down`]. `loaded` says which CPUs may have translations of it cached: a CPU sets its bit before
//! it loads the root and clears it after it has loaded another one. Lock level: before the frame allocator.

use super::{
    direct,
    frames::{FrameAllocator, OutOfFrames},
};
use crate::cpu_mask::CpuMask;
use core::{fmt, sync::atomic::Ordering};
use hal::{
    Access, CpuId, CpuSet, Frame, Machine, PAGE_SIZE, PageTableEntry, SpaceTag, VirtualAddress, machine::FlushScope,
};
use spin::Mutex;

const ENTRIES: usize = 512;
const LEVELS: u32 = 4;

/// Why a page could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The address is not page-aligned or not user mode's.
    NotUserPage(VirtualAddress),
    /// Something is mapped there.
    AlreadyMapped(VirtualAddress),
    /// Writable and executable at once.
    WritableExecutable(VirtualAddress),
    /// No memory is left.
    OutOfFrames,
}

impl From<OutOfFrames> for MapError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUserPage(address) => write!(f, "{address} is not a page of user mode"),
            Self::AlreadyMapped(address) => write!(f, "page {address} is mapped already"),
            Self::WritableExecutable(address) => write!(f, "page {address} would be writable and executable"),
            Self::OutOfFrames => write!(f, "{OutOfFrames}"),
        }
    }
}

/// What one step of a tear-down has left.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TearDown {
    /// Pages remain.
    Unfinished,
    /// Everything is freed, the root too.
    Done,
}

/// A user address space.
pub struct AddressSpace<M: Machine> {
    frames: &'static FrameAllocator<M>,
    /// The root table; `None` once torn down.
    root: Mutex<Option<Frame>>,
    /// CPUs that may have it loaded.
    loaded: CpuMask,
    /// How the machine tags its translations.
    tag: SpaceTag,
}

/// The index of `address` in the table of `level` (4 is the root).
fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) % ENTRIES
}

impl<M: Machine> AddressSpace<M> {
    /// An empty space.
    pub fn new(frames: &'static FrameAllocator<M>) -> Result<Self, OutOfFrames> {
        let root = frames.allocate()?;
        frames.machine().prepare_root(root);
        Ok(Self { frames, root: Mutex::new(Some(root)), loaded: CpuMask::new(), tag: SpaceTag::new() })
    }

    fn machine(&self) -> &'static M {
        self.frames.machine()
    }

    fn entry(&self, table: Frame, index: usize) -> M::Entry {
        M::Entry::from_raw(direct::word64(self.machine(), table, index * 8).load(Ordering::Relaxed))
    }

    /// The release pairs with the table walkers of other CPUs: a table is complete before it is linked.
    fn set_entry(&self, table: Frame, index: usize, entry: M::Entry) {
        direct::word64(self.machine(), table, index * 8).store(entry.to_raw(), Ordering::Release);
    }

    fn is_user_page(&self, page: VirtualAddress) -> bool {
        let user = self.machine().user_range();
        page.page_offset() == 0 && page.0 >= user.start && page.0 < user.end
    }

    /// Maps a new zeroed page and answers its frame.
    pub fn map_new(&self, page: VirtualAddress, access: Access) -> Result<Frame, MapError> {
        if !self.is_user_page(page) {
            return Err(MapError::NotUserPage(page));
        }
        if access.contains(Access::WRITE | Access::EXECUTE) {
            return Err(MapError::WritableExecutable(page));
        }
        let root = self.root.lock();
        let mut table = root.ok_or(MapError::NotUserPage(page))?;
        for level in (2..=LEVELS).rev() {
            table = self.table_below(table, index(page.0, level))?;
        }
        if self.entry(table, index(page.0, 1)).is_present() {
            return Err(MapError::AlreadyMapped(page));
        }
        let frame = self.frames.allocate()?;
        self.set_entry(table, index(page.0, 1), M::Entry::user_page(frame, access));
        self.machine().entries_written();
        Ok(frame)
    }

    fn table_below(&self, table: Frame, index: usize) -> Result<Frame, OutOfFrames> {
        let entry = self.entry(table, index);
        if entry.is_present() {
            return Ok(entry.frame());
        }
        let frame = self.frames.allocate()?;
        self.set_entry(table, index, M::Entry::table(frame));
        Ok(frame)
    }

    /// The frame behind a user address and what user mode may do there. `None`: not mapped, or not user mode's.
    pub fn translate(&self, address: VirtualAddress) -> Option<(Frame, Access)> {
        self.walk((*self.root.lock())?, address)
    }

    /// Does `work` with the frame behind a user address, where user mode has the access `need`; else answers `None`.
    /// The frame is not freed meanwhile, not even if the process ends.
    pub fn with_page(&self, address: VirtualAddress, need: Access, work: impl FnOnce(Frame)) -> Option<()> {
        let root = self.root.lock();
        let (frame, access) = self.walk((*root)?, address)?;
        access.contains(need).then(|| work(frame))
    }

    fn walk(&self, root: Frame, address: VirtualAddress) -> Option<(Frame, Access)> {
        if !self.is_user_page(address.page()) {
            return None;
        }
        let mut table = root;
        for level in (2..=LEVELS).rev() {
            let entry = self.entry(table, index(address.0, level));
            if !entry.is_present() {
                return None;
            }
            table = entry.frame();
        }
        let entry = self.entry(table, index(address.0, 1));
        entry.is_present().then(|| (entry.frame(), entry.access()))
    }

    /// Loads the space on `cpu`, which is the one that calls. Answers `false` when it is torn down already.
    pub fn load_on(&self, cpu: CpuId) -> bool {
        let root = self.root.lock();
        let Some(frame) = *root else { return false };
        self.loaded.insert(cpu);
        self.machine().load_root(frame, &self.tag);
        true
    }

    /// Drops what this CPU has cached of the space.
    pub fn flush(&self) {
        self.machine().flush(&self.tag, FlushScope::User);
    }

    /// Says that `cpu` has loaded another root.
    pub fn unloaded_on(&self, cpu: CpuId) {
        self.loaded.remove(cpu);
    }

    /// The CPUs that may have translations of the space.
    pub fn loaded_on(&self) -> CpuSet {
        self.loaded.snapshot()
    }

    /// Frees at most `budget` frames. Call again until it is done. The caller has made sure that no CPU has the space
    /// loaded and that none will load it.
    pub fn tear_down(&self, budget: usize) -> TearDown {
        let mut root = self.root.lock();
        let Some(frame) = *root else { return TearDown::Done };
        let user = self.machine().user_range();
        let indices = index(user.start, LEVELS)..=index(user.end - 1, LEVELS);
        let mut left = budget;
        if !indices.into_iter().all(|slot| self.free_below(frame, slot, LEVELS, &mut left)) {
            return TearDown::Unfinished;
        }
        self.free_frame(frame);
        *root = None;
        TearDown::Done
    }

    /// Frees what hangs at one entry of a table. Answers whether all of it is gone.
    fn free_below(&self, table: Frame, slot: usize, level: u32, left: &mut usize) -> bool {
        let entry = self.entry(table, slot);
        if !entry.is_present() {
            return true;
        }
        let below = entry.frame();
        if level > 1 && !(0..ENTRIES).all(|slot| self.free_below(below, slot, level - 1, left)) {
            return false;
        }
        if *left == 0 {
            return false;
        }
        *left -= 1;
        self.set_entry(table, slot, M::Entry::empty());
        self.free_frame(below);
        true
    }

    fn free_frame(&self, frame: Frame) {
        let freed = self.frames.free(frame);
        debug_assert_eq!(freed, Ok(()), "a space frees only what it allocated");
    }
}

impl<M: Machine> Drop for AddressSpace<M> {
    /// Frees what a failed spawn has left. A space that ran is torn down in steps before.
    fn drop(&mut self) {
        while self.tear_down(64) == TearDown::Unfinished {}
    }
}

/// The pages that hold `length` bytes from `start`, which is page-aligned. `None`: beyond the end of addresses.
pub fn pages(start: VirtualAddress, length: usize) -> Option<impl Iterator<Item = VirtualAddress>> {
    let end = start.0.checked_add(length)?;
    Some((start.0..end).step_by(PAGE_SIZE).map(VirtualAddress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;

    const PAGE: VirtualAddress = VirtualAddress(0x20_0000);

    #[test]
    fn a_mapped_page_translates_with_its_access_and_its_neighbours_do_not() {
        let frames = TestMachine::with_frames(32);
        let space = AddressSpace::new(frames).unwrap();
        let frame = space.map_new(PAGE, Access::READ | Access::WRITE).unwrap();
        assert_eq!(space.translate(VirtualAddress(PAGE.0 + 17)), Some((frame, Access::READ | Access::WRITE)));
        assert_eq!(space.translate(VirtualAddress(PAGE.0 + PAGE_SIZE)), None);
        assert_eq!(space.translate(VirtualAddress(PAGE.0 - 1)), None);
    }

    #[test]
    fn a_page_in_use_by_the_kernel_is_not_freed_and_a_freed_one_not_used() {
        let space = AddressSpace::new(TestMachine::with_frames(32)).unwrap();
        let frame = space.map_new(PAGE, Access::READ).unwrap();
        let mut seen = None;
        let done = space.with_page(PAGE, Access::READ, |frame| {
            assert!(space.root.try_lock().is_none(), "a tear-down has to wait");
            seen = Some(frame);
        });
        assert_eq!((done, seen), (Some(()), Some(frame)));
        let unused = |_: Frame| panic!("the page was used");
        assert_eq!(space.with_page(PAGE, Access::WRITE, unused), None);
        while space.tear_down(64) == TearDown::Unfinished {}
        assert_eq!(space.with_page(PAGE, Access::READ, unused), None);
    }

    #[test]
    fn kernel_addresses_doubles_and_writable_code_are_refused() {
        let frames = TestMachine::with_frames(32);
        let space = AddressSpace::new(frames).unwrap();
        let kernel = VirtualAddress(TestMachine::USER_END);
        assert_eq!(space.map_new(kernel, Access::READ), Err(MapError::NotUserPage(kernel)));
        assert_eq!(space.map_new(VirtualAddress(0), Access::READ), Err(MapError::NotUserPage(VirtualAddress(0))));
        let crooked = VirtualAddress(PAGE.0 + 8);
        assert_eq!(space.map_new(crooked, Access::READ), Err(MapError::NotUserPage(crooked)));
        space.map_new(PAGE, Access::READ).unwrap();
        assert_eq!(space.map_new(PAGE, Access::READ), Err(MapError::AlreadyMapped(PAGE)));
        let both = Access::WRITE | Access::EXECUTE;
        assert_eq!(
            space.map_new(VirtualAddress(0x40_0000), both),
            Err(MapError::WritableExecutable(VirtualAddress(0x40_0000)))
        );
        assert_eq!(space.translate(kernel), None);
    }

    #[test]
    fn a_tear_down_in_steps_frees_every_frame_once() {
        let frames = TestMachine::with_frames(400);
        let before = frames.free_count();
        let space = AddressSpace::new(frames).unwrap();
        for page in 0..300 {
            space.map_new(VirtualAddress(PAGE.0 + page * PAGE_SIZE), Access::READ).unwrap();
        }
        space.map_new(VirtualAddress(TestMachine::USER_END - PAGE_SIZE), Access::READ).unwrap();
        let mut steps = 1;
        loop {
            let free = frames.free_count();
            let state = space.tear_down(64);
            assert!(frames.free_count() - free <= 65);
            if state == TearDown::Done {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 5);
        assert_eq!(frames.free_count(), before);
        assert_eq!(space.tear_down(64), TearDown::Done);
        assert!(!space.load_on(CpuId::BOOT));
    }

    #[test]
    fn exhaustion_is_an_error_and_leaks_nothing() {
        let frames = TestMachine::with_frames(8);
        let space = AddressSpace::new(frames).unwrap();
        let failed =
            (0..10).find_map(|page| space.map_new(VirtualAddress(PAGE.0 + page * PAGE_SIZE), Access::READ).err());
        assert_eq!(failed, Some(MapError::OutOfFrames));
        drop(space);
        assert_eq!(frames.free_count(), 8);
    }
}
