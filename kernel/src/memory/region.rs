//! Regions: what stands where in an address space, whether or not a page of it was ever used.
//!
//! A [`Region`] is a range of pages with one access and one [`Backing`]; `Regions` holds those of a space, apart from
//! each other, and the ranges that are being unmapped, in which nothing is populated or placed any more. Every look-up,
//! insertion and split is O(log n). Lock level: all of it is behind the lock of its space.

use super::{heap, object::MemoryObject, reservation::ReserveError};
use alloc::{collections::BTreeMap, sync::Arc};
use core::{fmt, ops::Range};
use hal::{Access, Machine, PAGE_SIZE, VirtualAddress};
use tessera_abi::limits::MAPPINGS;

/// What one entry of a table of level 1, 2 and 3 covers, as powers of two: the spans of the tables below the root.
const TABLE_SPANS: [u32; 3] = [21, 30, 39];
/// How many occupied places one search for a free one looks at.
const PROBES: usize = 64;

/// Why a mapping could not be made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// No page, addresses that are not page-aligned, or not user mode's.
    NotUserPages(VirtualAddress),
    /// Something stands there.
    Occupied(VirtualAddress),
    /// Nothing stands there.
    NotMapped(VirtualAddress),
    /// The kernel's own page.
    KernelOwned(VirtualAddress),
    /// The range is being unmapped by somebody else.
    Busy(VirtualAddress),
    /// No access that there is: writable and executable at once, or not readable.
    BadAccess(Access),
    /// More than what is mapped there permits.
    NotPermitted(Access),
    /// Beyond the end of the memory object.
    OutsideObject,
    /// The space has [`MAPPINGS`] regions.
    TooManyMappings,
    /// No place was found.
    NoPlace,
    /// No memory is left, or the process may not have more.
    Reserve(ReserveError),
    /// The kernel's heap is nearly full.
    OutOfHeap,
    /// The space is gone.
    TornDown,
}

impl From<ReserveError> for RegionError {
    fn from(error: ReserveError) -> Self {
        Self::Reserve(error)
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUserPages(address) => write!(f, "{address} is not the start of pages of user mode"),
            Self::Occupied(address) => write!(f, "page {address} is mapped already"),
            Self::NotMapped(address) => write!(f, "page {address} is not mapped"),
            Self::KernelOwned(address) => write!(f, "page {address} is the kernel's"),
            Self::Busy(address) => write!(f, "page {address} is being unmapped"),
            Self::BadAccess(access) => write!(f, "no page can have the access {:#b}", access.bits()),
            Self::NotPermitted(access) => write!(f, "the mapping does not permit the access {:#b}", access.bits()),
            Self::OutsideObject => write!(f, "the range is not inside the memory object"),
            Self::TooManyMappings => write!(f, "the address space has {MAPPINGS} mappings"),
            Self::NoPlace => write!(f, "no free range of addresses was found"),
            Self::Reserve(error) => write!(f, "{error}"),
            Self::OutOfHeap => write!(f, "the kernel's heap is nearly full"),
            Self::TornDown => write!(f, "the address space is gone"),
        }
    }
}

/// Where the bytes of a region come from.
pub enum Backing<M: Machine> {
    /// Zeroed frames of the space's own.
    Anonymous,
    /// Frames of the space's own, filled from the boot image; what lies outside `bytes` is zero.
    Image {
        /// The bytes.
        bytes: &'static [u8],
        /// Where the first of them stands; not necessarily the start of a page or of the region.
        start: VirtualAddress,
    },
    /// Pages of an object.
    Object {
        /// The object.
        object: Arc<MemoryObject<M>>,
        /// Which of its pages stands at the region's start.
        first_page: usize,
    },
    /// Frames of the space's own that the kernel uses too, present from the beginning.
    Kernel,
}

impl<M: Machine> Backing<M> {
    /// Whether its frames are the space's own.
    pub fn is_private(&self) -> bool {
        !matches!(self, Self::Object { .. })
    }

    /// The backing of what begins `bytes` later.
    fn advanced(&self, bytes: usize) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Image { bytes, start } => Self::Image { bytes, start: *start },
            Self::Object { object, first_page } => {
                Self::Object { object: object.clone(), first_page: first_page + bytes / PAGE_SIZE }
            }
            Self::Kernel => Self::Kernel,
        }
    }

    /// Whether `next` goes on where this one ends after `length` bytes.
    fn continues(&self, next: &Self, length: usize) -> bool {
        match (self, next) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Image { bytes, start }, Self::Image { bytes: other, start: at }) => {
                core::ptr::eq(*bytes, *other) && start == at
            }
            (Self::Object { object, first_page }, Self::Object { object: other, first_page: at }) => {
                object.id() == other.id() && first_page + length / PAGE_SIZE == *at
            }
            _ => false,
        }
    }
}

/// What stands in one range.
pub struct Region<M: Machine> {
    /// The first address behind it.
    pub end: usize,
    /// What user mode may do now.
    pub access: Access,
    /// What it can be allowed by [`super::address_space::AddressSpace::protect_begin`].
    pub most_access: Access,
    /// Where its bytes come from.
    pub backing: Backing<M>,
}

impl<M: Machine> Region<M> {
    /// What begins at `from` of a region that begins at `start`.
    pub(super) fn advanced(&self, start: usize, from: usize) -> Self {
        let Self { end, access, most_access, .. } = *self;
        Self { end, access, most_access, backing: self.backing.advanced(from - start) }
    }
}

/// Whether pages can have this access: none, or readable and not writable and executable at once.
pub fn check_access(access: Access) -> Result<(), RegionError> {
    let readable = access.is_empty() || access.contains(Access::READ);
    let both = access.contains(Access::WRITE | Access::EXECUTE);
    if readable && !both { Ok(()) } else { Err(RegionError::BadAccess(access)) }
}

/// The regions of one space.
pub(super) struct Regions<M: Machine> {
    /// By start.
    map: BTreeMap<usize, Region<M>>,
    /// The kernel's own regions once more, start to end.
    owned: BTreeMap<usize, usize>,
    /// Ranges that are being unmapped, start to end.
    leaving: BTreeMap<usize, usize>,
    /// Where places are chosen.
    arena: Range<usize>,
    /// The start of the region that was placed last; the next one goes below it.
    lowest: usize,
}

/// The start of the range in `map` that reaches highest into `range`.
fn highest<V>(map: &BTreeMap<usize, V>, range: &Range<usize>, end: impl Fn(&V) -> usize) -> Option<usize> {
    map.range(..range.end).next_back().filter(|(_, value)| end(value) > range.start).map(|(&start, _)| start)
}

impl<M: Machine> Regions<M> {
    /// None yet. Places are chosen in `arena`, from its end downwards.
    pub fn new(arena: Range<usize>) -> Self {
        let lowest = arena.end;
        Self { map: BTreeMap::new(), owned: BTreeMap::new(), leaving: BTreeMap::new(), arena, lowest }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// The region that holds an address, unless it is being unmapped.
    pub fn find(&self, address: usize) -> Option<(usize, &Region<M>)> {
        let is_leaving = self.leaving.range(..=address).next_back().is_some_and(|(_, &end)| address < end);
        let (&start, region) = self.map.range(..=address).next_back()?;
        (address < region.end && !is_leaving).then_some((start, region))
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, address: usize) -> Option<(usize, &mut Region<M>)> {
        let start = self.find(address)?.0;
        self.map.get_mut(&start).map(|region| (start, region))
    }

    /// The first region that ends behind an address.
    pub fn first_behind(&self, address: usize) -> Option<(usize, &Region<M>)> {
        let start = self.find(address).map_or(address, |(start, _)| start);
        self.map.range(start..).next().map(|(&start, region)| (start, region))
    }

    /// Whether a region touches `range`.
    pub fn touches(&self, range: &Range<usize>) -> bool {
        highest(&self.map, range, |region| region.end).is_some()
    }

    /// Whether `range` touches one that is being unmapped.
    pub fn is_leaving(&self, range: &Range<usize>) -> bool {
        highest(&self.leaving, range, |&end| end).is_some()
    }

    /// Whether anything is being unmapped.
    pub fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Whether `range` touches the kernel's own regions.
    pub fn is_owned(&self, range: &Range<usize>) -> bool {
        highest(&self.owned, range, |&end| end).is_some()
    }

    /// The page tables that only `range` needs, which is no region's: one for each span of each level that no region
    /// touches.
    pub fn exclusive_tables(&self, range: &Range<usize>) -> u64 {
        let of_level = |shift: u32| {
            let (first, last) = (range.start >> shift, (range.end - 1) >> shift);
            let is_shared = |span: usize| self.touches(&(span << shift..(span + 1) << shift));
            let shared_ends = u64::from(is_shared(first)) + u64::from(first != last && is_shared(last));
            (last - first + 1) as u64 - shared_ends
        };
        if range.is_empty() { 0 } else { TABLE_SPANS.into_iter().map(of_level).sum() }
    }

    /// Whether a region can be added.
    pub fn check_room(&self) -> Result<(), RegionError> {
        match self.map.len() {
            MAPPINGS.. => Err(RegionError::TooManyMappings),
            _ if heap::is_low() => Err(RegionError::OutOfHeap),
            _ => Ok(()),
        }
    }

    /// Whether nothing stands in `range` or is about to leave it.
    pub fn check_free(&self, range: &Range<usize>) -> Result<(), RegionError> {
        if self.touches(range) || self.is_leaving(range) {
            return Err(RegionError::Occupied(VirtualAddress(range.start)));
        }
        Ok(())
    }

    /// Chooses a place for `bytes` bytes: below the one chosen last, a guard page between any two. Looks at a bounded
    /// number of places; a search that fails goes on there next time.
    pub fn choose(&mut self, bytes: usize) -> Result<usize, RegionError> {
        let wanted = bytes.checked_add(2 * PAGE_SIZE).filter(|&wanted| wanted <= self.arena.len());
        let wanted = wanted.ok_or(RegionError::NoPlace)?;
        let mut top = self.lowest;
        for _ in 0..PROBES {
            if top < self.arena.start + wanted {
                top = self.arena.end;
            }
            let candidate = top - wanted..top;
            let region = highest(&self.map, &candidate, |region| region.end);
            match region.max(highest(&self.leaving, &candidate, |&end| end)) {
                None => return Ok(candidate.start + PAGE_SIZE),
                Some(occupied) => top = occupied,
            }
        }
        self.lowest = top;
        Err(RegionError::NoPlace)
    }

    /// Notes that a chosen place is used.
    pub fn chose(&mut self, start: usize) {
        self.lowest = start;
    }

    /// Adds a region to a free range.
    pub fn insert(&mut self, start: usize, region: Region<M>) {
        debug_assert!(!self.touches(&(start..region.end)), "regions stay apart");
        if matches!(region.backing, Backing::Kernel) {
            self.owned.insert(start, region.end);
        }
        self.map.insert(start, region);
    }

    /// Takes the first region out that starts in `range`.
    pub fn take_first(&mut self, range: Range<usize>) -> Option<(usize, Region<M>)> {
        let (&start, _) = self.map.range(range).next()?;
        self.owned.remove(&start);
        self.map.remove(&start).map(|region| (start, region))
    }

    /// Cuts the region that holds `at` in two there, unless one begins there.
    pub fn split(&mut self, at: usize) -> Result<(), RegionError> {
        let Some((&start, region)) = self.map.range(..at).next_back().filter(|(_, region)| at < region.end) else {
            return Ok(());
        };
        let behind = region.advanced(start, at);
        self.check_room()?;
        if let Some(region) = self.map.get_mut(&start) {
            region.end = at;
        }
        if self.owned.contains_key(&start) {
            self.owned.insert(start, at);
        }
        self.insert(at, behind);
        Ok(())
    }

    /// Joins the region that holds an address to the one before it, if they differ in nothing.
    pub fn join_region_of(&mut self, address: usize) {
        let Some((at, next)) = self.find(address) else { return };
        let Some((start, before)) = at.checked_sub(PAGE_SIZE).and_then(|below| self.find(below)) else { return };
        let alike = before.access == next.access && before.most_access == next.most_access;
        if !alike || !before.backing.continues(&next.backing, at - start) {
            return;
        }
        let end = next.end;
        self.map.remove(&at);
        if let Some(region) = self.map.get_mut(&start) {
            region.end = end;
        }
    }

    /// From now on nothing is populated or placed in `range`.
    pub fn leave(&mut self, range: &Range<usize>) {
        self.leaving.insert(range.start, range.end);
    }

    /// The range is free again.
    pub fn left(&mut self, range: &Range<usize>) {
        self.leaving.remove(&range.start);
        // Memory that was placed last and goes first gives its addresses back, and with them its page tables.
        if range.start == self.lowest {
            let above = self.map.range(range.start..).next().map_or(self.arena.end, |(&start, _)| start);
            self.lowest = above.min(self.arena.end);
        }
    }
}
