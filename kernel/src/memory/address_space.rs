//! A user address space: regions that say what stands where, and page tables that hold what was used so far.
//!
//! Making a region touches no page. A page gets its frame when it is used for the first time, by user mode
//! ([`AddressSpace::fault`]) or by the kernel for it ([`AddressSpace::with_page`]). All frames that a region can ever
//! need, its page tables included, are promised and charged to the process when the region is made: a first use never
//! fails for lack of memory. What is taken away (unmapping, narrower access, tear-down) goes in bounded steps; see
//! [`super::change`].
//!
//! `loaded` says which CPUs may have translations of the space cached: a CPU sets its bit before it loads the root and
//! clears it after it has loaded another one. Lock level: see [`super`].

use super::{
    frames::FrameAllocator,
    object::MemoryObject,
    region::{Backing, Region, RegionError, Regions, check_access},
    reservation::{Reservation, ReserveError},
    tables::{change_page, entry, lowest_table, make_lowest_table, page_entry, set_entry},
};
use crate::cpu_mask::CpuMask;
use alloc::sync::Arc;
use core::{
    ops::Range,
    sync::atomic::{Ordering, fence},
};
use hal::{
    Access, CpuId, CpuSet, Frame, Machine, PAGE_SIZE, PageTableEntry, SpaceTag, VirtualAddress, machine::FlushScope,
};
use kernel_core::limits::Quota;
use spin::{Mutex, MutexGuard};

/// The top of user memory, where the kernel places nothing by itself: the first thread's stack, ring and start page.
pub const TOP_BYTES: usize = 16 << 20;

/// What a fault has led to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Faulted {
    /// The page has its frame, or its new access, from now on.
    Populated,
    /// The page tables allow the access already: another CPU was faster, or a stale translation was used.
    AlreadyThere,
}

/// Why a fault is the program's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultDenied {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there does not allow the access.
    NotAllowed,
}

/// What a word of user memory is to those who wait at it: the same word, the same key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WordKey {
    /// Memory of one space.
    Private(VirtualAddress),
    /// Memory of an object, wherever it is mapped.
    Shared {
        /// The object's number.
        object: u64,
        /// The word's place in it, in bytes.
        offset: u64,
    },
}

/// What stands at some place, for those who look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The addresses.
    pub range: Range<VirtualAddress>,
    /// What user mode may do.
    pub access: Access,
    /// The object's number and the offset in bytes at which the range begins.
    pub object: Option<(u64, u64)>,
}

/// Where a region is to stand.
enum Place {
    At(VirtualAddress),
    Anywhere,
}

/// What a new region is.
struct New<M: Machine> {
    access: Access,
    most_access: Access,
    backing: Backing<M>,
}

/// What is behind the lock of a space that is not torn down.
pub(super) struct State<M: Machine> {
    pub root: Frame,
    pub regions: Regions<M>,
    /// The root, the private pages of all regions and the tables that they need.
    pub reserved: Reservation<M>,
}

/// A user address space.
pub struct AddressSpace<M: Machine> {
    pub(super) frames: &'static FrameAllocator<M>,
    /// `None` once torn down.
    pub(super) state: Mutex<Option<State<M>>>,
    /// CPUs that may have it loaded.
    loaded: CpuMask,
    /// How the machine tags its cached translations.
    tag: SpaceTag,
}

impl<M: Machine> AddressSpace<M> {
    /// An empty space at the expense of `quota`.
    pub fn new(frames: &'static FrameAllocator<M>, quota: &Arc<Quota>) -> Result<Self, ReserveError> {
        let reserved = Reservation::new(frames, quota, 1)?;
        let root = reserved.allocate();
        frames.machine().prepare_root(root);
        let user = frames.machine().user_range();
        let regions = Regions::new(user.end / 2..user.end - TOP_BYTES);
        let state = Mutex::new(Some(State { root, regions, reserved }));
        Ok(Self { frames, state, loaded: CpuMask::new(), tag: SpaceTag::new() })
    }

    pub(super) fn machine(&self) -> &'static M {
        self.frames.machine()
    }

    fn is_user(&self, address: usize) -> bool {
        self.machine().user_range().contains(&address)
    }

    /// The range of `pages` pages, if it is user mode's and not empty.
    pub(super) fn user_range(&self, start: VirtualAddress, bytes: usize) -> Result<Range<usize>, RegionError> {
        let user = self.machine().user_range();
        let end = start.0.checked_add(bytes).filter(|&end| end <= user.end && start.0 >= user.start);
        let aligned = start.page_offset() == 0 && bytes.is_multiple_of(PAGE_SIZE) && bytes > 0;
        end.filter(|_| aligned).map(|end| start.0..end).ok_or(RegionError::NotUserPages(start))
    }

    pub(super) fn live(&self) -> Result<LiveGuard<'_, M>, RegionError> {
        let guard = self.state.lock();
        if guard.is_none() { Err(RegionError::TornDown) } else { Ok(LiveGuard(guard)) }
    }

    /// Makes a region: what it can need is reserved, nothing is touched. Answers where it stands.
    fn add(
        &self,
        state: &mut State<M>,
        place: Place,
        pages: usize,
        new: New<M>,
    ) -> Result<VirtualAddress, RegionError> {
        let New { access, most_access, backing } = new;
        check_access(access)?;
        let bytes = pages.checked_mul(PAGE_SIZE).ok_or(RegionError::NoPlace)?;
        state.regions.check_room()?;
        let start = match place {
            Place::At(start) => start,
            Place::Anywhere => VirtualAddress(state.regions.choose(bytes)?),
        };
        let range = self.user_range(start, bytes)?;
        state.regions.check_free(&range)?;
        let private = if backing.is_private() { pages as u64 } else { 0 };
        state.reserved.grow(private + state.regions.exclusive_tables(&range))?;
        state.regions.insert(range.start, Region { end: range.end, access, most_access, backing });
        if matches!(place, Place::Anywhere) {
            state.regions.chose(range.start);
        }
        Ok(start)
    }

    /// Maps zeroed pages at a place that the caller chooses.
    pub fn map_anonymous(&self, start: VirtualAddress, pages: usize, access: Access) -> Result<(), RegionError> {
        let new = New { access, most_access: Access::all(), backing: Backing::Anonymous };
        self.add(self.live()?.state(), Place::At(start), pages, new).map(drop)
    }

    /// Maps pages of the boot image: `bytes` stand at `bytes_start`, the rest is zero.
    pub fn map_image(
        &self,
        start: VirtualAddress,
        pages: usize,
        access: Access,
        bytes: &'static [u8],
        bytes_start: VirtualAddress,
    ) -> Result<(), RegionError> {
        let backing = Backing::Image { bytes, start: bytes_start };
        let new = New { access, most_access: Access::all(), backing };
        self.add(self.live()?.state(), Place::At(start), pages, new).map(drop)
    }

    /// Maps zeroed pages at a place that the kernel chooses, with an unmapped page before and behind.
    pub fn allocate(&self, pages: usize, access: Access) -> Result<VirtualAddress, RegionError> {
        if pages == 0 {
            return Err(RegionError::NotUserPages(VirtualAddress(0)));
        }
        let new = New { access, most_access: Access::all(), backing: Backing::Anonymous };
        self.add(self.live()?.state(), Place::Anywhere, pages, new)
    }

    /// Maps pages of an object at a place that the kernel chooses. The mapping never becomes executable, and never
    /// writable unless it is made so.
    pub fn map_object(
        &self,
        object: &Arc<MemoryObject<M>>,
        first_page: usize,
        pages: usize,
        access: Access,
    ) -> Result<VirtualAddress, RegionError> {
        if access.contains(Access::EXECUTE) {
            return Err(RegionError::BadAccess(access));
        }
        let end = first_page.checked_add(pages).filter(|&end| pages > 0 && end <= object.pages());
        end.ok_or(RegionError::OutsideObject)?;
        let backing = Backing::Object { object: object.clone(), first_page };
        self.add(self.live()?.state(), Place::Anywhere, pages, New { access, most_access: access, backing })
    }

    /// Maps zeroed pages that the kernel uses too, and answers their frames. The program can neither unmap them nor
    /// change their access. `None` lets the kernel choose the place.
    pub fn map_kernel_owned<const PAGES: usize>(
        &self,
        start: Option<VirtualAddress>,
        access: Access,
    ) -> Result<(VirtualAddress, [Frame; PAGES]), RegionError> {
        let place = start.map_or(Place::Anywhere, Place::At);
        let mut guard = self.live()?;
        let state = guard.state();
        let new = New { access, most_access: access, backing: Backing::Kernel };
        let start = self.add(state, place, PAGES, new)?;
        let frames = core::array::from_fn(|page| {
            let address = start.0 + page * PAGE_SIZE;
            let frame = state.reserved.allocate();
            let table = make_lowest_table(self.machine(), state.root, address, || self.new_table(state));
            set_entry(self.machine(), table, address, 1, page_entry::<M::Entry>(frame, access));
            frame
        });
        self.machine().entries_written();
        Ok((start, frames))
    }

    /// A page fault of user mode at `address`, or a use by the kernel for it: gives the page its frame and its access, if
    /// it may be used with the access `need`. Never fails for lack of memory.
    pub fn fault(&self, address: VirtualAddress, need: Access) -> Result<Faulted, FaultDenied> {
        let guard = self.state.lock();
        let state = guard.as_ref().ok_or(FaultDenied::NotMapped)?;
        self.populate(state, address, need).map(|(_, faulted)| faulted)
    }

    fn populate(
        &self,
        state: &State<M>,
        address: VirtualAddress,
        need: Access,
    ) -> Result<(Frame, Faulted), FaultDenied> {
        let (start, region) = state.regions.find(address.0).ok_or(FaultDenied::NotMapped)?;
        if !region.access.contains(need) || region.access.is_empty() {
            return Err(FaultDenied::NotAllowed);
        }
        let machine = self.machine();
        let page = address.page();
        let table = make_lowest_table(machine, state.root, page.0, || self.new_table(state));
        let there = entry(machine, table, page.0, 1);
        if there.is_present() && there.access().contains(need) {
            return Ok((there.frame(), Faulted::AlreadyThere));
        }
        let frame = if there.is_empty() { self.new_frame(state, start, region, page) } else { there.frame() };
        change_page(machine, table, page.0, M::Entry::withdrawn(frame), region.access);
        machine.entries_written();
        Ok((frame, Faulted::Populated))
    }

    /// The frame for a table that is not there.
    fn new_table(&self, state: &State<M>) -> Frame {
        // Unmapping may have taken another table out of this very place, and CPUs may have that cached until it is settled.
        // Where flushes are broadcast, a valid entry must not follow another without one between (Arm ARM,
        // break-before-make); elsewhere the stale table only leads to one more fault.
        if state.regions.has_leaving() && self.machine().flush_is_broadcast() {
            self.flush(FlushScope::User);
        }
        state.reserved.allocate()
    }

    /// The frame for a page that was never used.
    fn new_frame(&self, state: &State<M>, start: usize, region: &Region<M>, page: VirtualAddress) -> Frame {
        match &region.backing {
            Backing::Anonymous | Backing::Kernel => state.reserved.allocate(),
            Backing::Image { bytes, start } => {
                let frame = state.reserved.allocate();
                fill(self.machine(), frame, page, bytes, *start);
                frame
            }
            Backing::Object { object, first_page } => {
                let frame = object.page(first_page + (page.0 - start) / PAGE_SIZE);
                frame.expect("a region ends before its object does")
            }
        }
    }

    /// The frame behind a user address that was used before, and what user mode may do there.
    pub fn translate(&self, address: VirtualAddress) -> Option<(Frame, Access)> {
        let guard = self.state.lock();
        self.present((*guard).as_ref()?, address)
    }

    fn present(&self, state: &State<M>, address: VirtualAddress) -> Option<(Frame, Access)> {
        if !self.is_user(address.0) {
            return None;
        }
        let table = lowest_table(self.machine(), state.root, address.0)?;
        let entry = entry(self.machine(), table, address.0, 1);
        entry.is_present().then(|| (entry.frame(), entry.access()))
    }

    /// Does `work` with the frame behind a user address, where user mode has the access `need`; else answers `None`.
    /// A page that was never used gets its frame. It is not freed meanwhile, not even if the process ends.
    pub fn with_page(&self, address: VirtualAddress, need: Access, work: impl FnOnce(Frame)) -> Option<()> {
        let guard = self.state.lock();
        let state = (*guard).as_ref()?;
        let used_before = self.present(state, address).filter(|(_, access)| access.contains(need));
        let frame = match used_before {
            Some((frame, _)) => frame,
            None => self.populate(state, address, need).ok()?.0,
        };
        work(frame);
        Some(())
    }

    /// What a word is to those who wait at it. `None`: it is not mapped readable.
    pub fn key_of_word(&self, address: VirtualAddress) -> Option<WordKey> {
        let guard = self.state.lock();
        let (start, region) = (*guard).as_ref()?.regions.find(address.0)?;
        let readable = region.access.contains(Access::READ);
        readable.then(|| match &region.backing {
            Backing::Object { object, first_page } => {
                WordKey::Shared { object: object.id(), offset: (first_page * PAGE_SIZE + address.0 - start) as u64 }
            }
            _ => WordKey::Private(address),
        })
    }

    /// The first mapping that ends behind `address`, for those who look through all of them.
    pub fn mapping_from(&self, address: VirtualAddress) -> Option<Mapping> {
        let guard = self.state.lock();
        let (start, region) = (*guard).as_ref()?.regions.first_behind(address.0)?;
        let object = match &region.backing {
            Backing::Object { object, first_page } => Some((object.id(), (first_page * PAGE_SIZE) as u64)),
            _ => None,
        };
        let range = VirtualAddress(start)..VirtualAddress(region.end);
        Some(Mapping { range, access: region.access, object })
    }

    /// How many mappings there are.
    pub fn mappings(&self) -> usize {
        (*self.state.lock()).as_ref().map_or(0, |state| state.regions.count())
    }

    /// Loads the space on `cpu`, which is the one that calls. Answers `false` when it is torn down already.
    pub fn load_on(&self, cpu: CpuId) -> bool {
        let guard = self.state.lock();
        let Some(state) = guard.as_ref() else { return false };
        self.loaded.insert(cpu);
        self.machine().load_root(state.root, &self.tag);
        true
    }

    /// Drops cached translations of the space on this CPU, or on all where the machine does it so.
    pub fn flush(&self, scope: FlushScope) {
        self.machine().flush(&self.tag, scope);
    }

    /// Says that `cpu` has loaded another root.
    pub fn unloaded_on(&self, cpu: CpuId) {
        self.loaded.remove(cpu);
    }

    /// The CPUs that may have translations of the space. One that loads it later sees what was changed before this.
    pub fn loaded_on(&self) -> CpuSet {
        // With the exchange in `load_on`: either that CPU is seen here, or it sees the changed entries.
        fence(Ordering::SeqCst);
        self.loaded.snapshot()
    }
}

/// Copies what a page of an image has of its bytes.
fn fill<M: Machine>(machine: &M, frame: Frame, page: VirtualAddress, bytes: &[u8], start: VirtualAddress) {
    let from = page.0.max(start.0);
    let skipped = from - start.0;
    let room = (page.0 + PAGE_SIZE).saturating_sub(from);
    let length = room.min(bytes.len().saturating_sub(skipped));
    if length > 0 {
        super::direct::write(machine, frame, from - page.0, &bytes[skipped..skipped + length]);
    }
}

/// The lock of a space that is not torn down.
pub(super) struct LiveGuard<'a, M: Machine>(MutexGuard<'a, Option<State<M>>>);

impl<M: Machine> LiveGuard<'_, M> {
    pub fn state(&mut self) -> &mut State<M> {
        self.0.as_mut().expect("checked when the lock was taken")
    }
}

impl<M: Machine> Drop for AddressSpace<M> {
    /// Frees what a failed spawn has left. A space that ran is torn down in steps before.
    fn drop(&mut self) {
        while self.tear_down(super::tables::FRAMES_PER_STEP) == super::change::TearDown::Unfinished {}
    }
}

/// The pages that hold `length` bytes from `start`, which is page-aligned. `None`: beyond the end of addresses.
pub fn pages(start: VirtualAddress, length: usize) -> Option<impl Iterator<Item = VirtualAddress>> {
    let end = start.0.checked_add(length)?;
    Some((start.0..end).step_by(PAGE_SIZE).map(VirtualAddress))
}
