//! [`MemoryObject`]: memory that several spaces can map.
//!
//! Its frames are found through a radix tree of frames, 512 entries a level, so nothing large stands on the heap. They
//! are reserved when the object is made and allocated when they are first used. With the last reference the tree goes to
//! the [`ObjectGraves`], which free it in bounded steps; it stays reserved until then. Lock level: after an address
//! space's, before the frame allocator's.

use super::{
    direct,
    frames::FrameAllocator,
    heap,
    reservation::{Reservation, ReserveError},
};
use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use hal::{Frame, Machine, PhysicalAddress};
use kernel_core::limits::Quota;
use spin::Mutex;

const ENTRIES: usize = 512;
/// The entry points to a frame.
const PRESENT: u64 = 1;
/// Entries that one step of freeing looks at.
const ENTRIES_PER_STEP: usize = 512;

/// Why an object could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectError {
    /// It would have no page.
    Empty,
    /// No memory is left, or the process may not have more.
    Reserve(ReserveError),
    /// The kernel's heap is nearly full.
    OutOfHeap,
}

impl From<ReserveError> for ObjectError {
    fn from(error: ReserveError) -> Self {
        Self::Reserve(error)
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a memory object has at least one page"),
            Self::Reserve(error) => write!(f, "{error}"),
            Self::OutOfHeap => write!(f, "the kernel's heap is nearly full"),
        }
    }
}

/// The page is behind the object's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutsideObject {
    /// Which page.
    pub page: usize,
}

/// Pages below one entry of a table of this level; the lowest level is 1.
const fn pages_below(level: u32) -> usize {
    ENTRIES.pow(level - 1)
}

/// How many levels `pages` pages need.
fn levels(pages: usize) -> u32 {
    (1..).find(|&level| pages.div_ceil(pages_below(level)) <= ENTRIES).unwrap_or(1)
}

/// Frames of `pages` pages and of the tables above them.
fn frames_of(pages: usize) -> u64 {
    let tables = (1..=levels(pages)).map(|level| pages.div_ceil(ENTRIES * pages_below(level)) as u64);
    pages as u64 + tables.sum::<u64>()
}

fn slot<M: Machine>(machine: &M, table: Frame, index: usize) -> &AtomicU64 {
    direct::word64(machine, table, index * size_of::<u64>())
}

fn frame_at(slot: &AtomicU64) -> Option<Frame> {
    let word = slot.load(Ordering::Relaxed);
    (word & PRESENT != 0).then(|| Frame::containing(PhysicalAddress(word)))
}

/// The frames of an object, alive or not.
struct Tree<M: Machine> {
    pages: usize,
    levels: u32,
    reserved: Reservation<M>,
    root: Frame,
}

impl<M: Machine> Tree<M> {
    fn machine(&self) -> &'static M {
        self.reserved.frames().machine()
    }

    /// The frame of a page, made if there is none.
    fn page(&self, page: usize) -> Frame {
        let below = |table: Frame, level: u32| {
            let slot = slot(self.machine(), table, page / pages_below(level) % ENTRIES);
            frame_at(slot).unwrap_or_else(|| {
                let frame = self.reserved.allocate();
                slot.store(frame.start().0 | PRESENT, Ordering::Relaxed);
                frame
            })
        };
        (1..=self.levels).rev().fold(self.root, below)
    }
}

/// Memory that several spaces can map.
pub struct MemoryObject<M: Machine> {
    id: u64,
    pages: usize,
    /// There until the object is dropped.
    tree: Mutex<Option<Tree<M>>>,
    graves: &'static ObjectGraves<M>,
}

impl<M: Machine> MemoryObject<M> {
    /// Makes an object of `pages` zeroed pages at the expense of `quota`.
    pub fn create(
        graves: &'static ObjectGraves<M>,
        quota: &Arc<Quota>,
        pages: usize,
    ) -> Result<Arc<Self>, ObjectError> {
        if pages == 0 {
            return Err(ObjectError::Empty);
        }
        if pages as u64 > graves.frames.total() {
            return Err(ReserveError::OutOfFrames.into());
        }
        if heap::is_low() {
            return Err(ObjectError::OutOfHeap);
        }
        let reserved = Reservation::new(graves.frames, quota, frames_of(pages))?;
        graves.reserve()?;
        let root = reserved.allocate();
        let tree = Tree { pages, levels: levels(pages), reserved, root };
        let id = graves.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { id, pages, tree: Mutex::new(Some(tree)), graves }))
    }

    /// Its number; no two objects ever have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its size.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The frame of a page, zeroed when it is used for the first time.
    pub fn page(&self, page: usize) -> Result<Frame, OutsideObject> {
        let tree = self.tree.lock();
        tree.as_ref().filter(|_| page < self.pages).map(|tree| tree.page(page)).ok_or(OutsideObject { page })
    }
}

impl<M: Machine> Drop for MemoryObject<M> {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.get_mut().take() {
            self.graves.bury(Grave { tree, next_page: 0 });
        }
    }
}

/// An object that nobody can reach any more.
struct Grave<M: Machine> {
    tree: Tree<M>,
    /// Everything before it is freed.
    next_page: usize,
}

/// What a step of freeing may do yet.
struct Budget {
    frames: usize,
    entries: usize,
}

impl<M: Machine> Grave<M> {
    /// Frees within the budget. Answers whether all of it is gone.
    fn step(&mut self, budget: &mut Budget) -> bool {
        let Tree { root, levels, pages, .. } = self.tree;
        self.next_page = self.free_below(root, levels, self.next_page..pages, budget);
        if self.next_page < pages || budget.frames == 0 {
            return false;
        }
        budget.frames -= 1;
        self.free(root);
        true
    }

    /// Frees the pages of a range below a table, and the tables that are empty then. Answers how far it has come.
    fn free_below(&self, table: Frame, level: u32, range: core::ops::Range<usize>, budget: &mut Budget) -> usize {
        let below = pages_below(level);
        let mut at = range.start;
        while at < range.end && budget.entries > 0 {
            budget.entries -= 1;
            let next = range.end.min((at / below + 1) * below);
            let slot = slot(self.tree.machine(), table, at / below % ENTRIES);
            if let Some(frame) = frame_at(slot) {
                if level > 1 {
                    at = self.free_below(frame, level - 1, at..next, budget);
                    if at < next {
                        return at;
                    }
                }
                if budget.frames == 0 {
                    return next - 1;
                }
                budget.frames -= 1;
                slot.store(0, Ordering::Relaxed);
                self.free(frame);
            }
            at = next;
        }
        at
    }

    fn free(&self, frame: Frame) {
        let freed = self.tree.reserved.frames().free(frame);
        debug_assert_eq!(freed, Ok(()), "an object frees only what it allocated");
    }
}

/// What one step of freeing has left.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GraveStep {
    /// There is more to free.
    Unfinished,
    /// Nothing is left for now.
    Done,
}

/// Objects whose last reference is gone, and how many objects there are. Has room for all of them, so that giving one up
/// never allocates. Lock level: before the frame allocator's.
pub struct ObjectGraves<M: Machine> {
    frames: &'static FrameAllocator<M>,
    graves: Mutex<Vec<Grave<M>>>,
    /// Objects whose frames are not all free.
    objects: AtomicUsize,
    /// How many are buried; a hint that needs no lock.
    buried: AtomicUsize,
    next_id: AtomicU64,
}

impl<M: Machine> ObjectGraves<M> {
    /// No object yet.
    pub const fn new(frames: &'static FrameAllocator<M>) -> Self {
        Self {
            frames,
            graves: Mutex::new(Vec::new()),
            objects: AtomicUsize::new(0),
            buried: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    /// Makes room for one more object.
    fn reserve(&self) -> Result<(), ObjectError> {
        let mut graves = self.graves.lock();
        let objects = self.objects.load(Ordering::Relaxed) + 1;
        let more = objects - graves.len();
        graves.try_reserve(more).map_err(|_| ObjectError::OutOfHeap)?;
        self.objects.store(objects, Ordering::Relaxed);
        Ok(())
    }

    fn bury(&self, grave: Grave<M>) {
        let mut graves = self.graves.lock();
        graves.push(grave);
        self.buried.store(graves.len(), Ordering::Relaxed);
    }

    /// Frees at most `most` frames of objects that are gone.
    pub fn free_step(&self, most: usize) -> GraveStep {
        if !self.has_graves() {
            return GraveStep::Done;
        }
        // Taken out meanwhile: frames are freed without the lock.
        let Some(mut grave) = self.graves.lock().pop() else { return GraveStep::Done };
        let is_gone = grave.step(&mut Budget { frames: most, entries: ENTRIES_PER_STEP });
        let mut graves = self.graves.lock();
        if is_gone {
            self.objects.fetch_sub(1, Ordering::Relaxed);
        } else {
            graves.push(grave);
        }
        self.buried.store(graves.len(), Ordering::Relaxed);
        if graves.is_empty() { GraveStep::Done } else { GraveStep::Unfinished }
    }

    /// Whether something is to be freed.
    pub fn has_graves(&self) -> bool {
        self.buried.load(Ordering::Relaxed) > 0
    }

    /// How many objects there are, with those that are not wholly freed.
    pub fn objects(&self) -> usize {
        self.objects.load(Ordering::Relaxed)
    }
}
