//! Random sequences against a reference model that knows each page: what is mapped, what it allows and what it holds; and
//! after each of them that frames, promises and charges are exactly what the model needs.

use super::*;
use crate::memory::{
    address_space::FaultDenied,
    change::UnmapInProgress,
    object::MemoryObject,
    user_copy::{copy_from_user, copy_to_user},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use hal::PAGE_SIZE;
use proptest::prelude::*;

const SPACES: usize = 2;
/// Pages from [`BASE`] in which the sequences move; they lie below several tables.
const WINDOW: usize = 1500;
const FRAMES: u64 = 4000;
const LIMIT: u32 = 3000;

/// Memory of sequences that have ended well, for the next ones.
static POOL: spin::Mutex<Vec<&'static FrameAllocator<TestMachine>>> = spin::Mutex::new(Vec::new());

#[derive(Clone, Debug)]
enum Operation {
    MapAt { page: usize, pages: usize, access: Access },
    Allocate { pages: usize, access: Access },
    KernelOwned { page: usize },
    Create { pages: usize },
    MapObject { object: usize, first: usize, pages: usize, access: Access },
    GiveUp { object: usize },
    Write { page: Pick, value: u64 },
    Read { page: Pick },
    BeginUnmap { page: Pick, pages: usize },
    StepUnmap { most: usize },
    Protect { page: Pick, pages: usize, access: Access, most: usize },
    FreeObjects { most: usize },
}

/// A page in the window, or one that is mapped.
#[derive(Clone, Copy, Debug)]
enum Pick {
    InWindow(usize),
    Mapped(usize),
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![4 => Just(READ_WRITE), 2 => Just(READ), 1 => Just(READ_EXECUTE), 1 => Just(Access::empty())]
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![1 => (0..WINDOW).prop_map(Pick::InWindow), 4 => any::<usize>().prop_map(Pick::Mapped)]
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let pages = || prop_oneof![3 => 1..5_usize, 1 => 1..200_usize];
    prop_oneof![
        4 => (0..WINDOW, pages(), access()).prop_map(|(page, pages, access)| MapAt { page, pages, access }),
        2 => (pages(), access()).prop_map(|(pages, access)| Allocate { pages, access }),
        1 => (0..WINDOW).prop_map(|page| KernelOwned { page }),
        1 => (1..600_usize).prop_map(|pages| Create { pages }),
        3 => (any::<usize>(), 0..40_usize, pages(), access())
            .prop_map(|(object, first, pages, access)| MapObject { object, first, pages, access }),
        1 => any::<usize>().prop_map(|object| GiveUp { object }),
        8 => (pick(), any::<u64>()).prop_map(|(page, value)| Write { page, value }),
        4 => pick().prop_map(|page| Read { page }),
        3 => (pick(), pages()).prop_map(|(page, pages)| BeginUnmap { page, pages }),
        6 => (1..65_usize).prop_map(|most| StepUnmap { most }),
        3 => (pick(), pages(), access(), 1..65_usize)
            .prop_map(|(page, pages, access, most)| Protect { page, pages, access, most }),
        2 => (1..65_usize).prop_map(|most| FreeObjects { most }),
    ]
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Content {
    Private(u64),
    Kernel,
    Shared { id: u64, page: usize },
}

#[derive(Clone, Copy, Debug)]
struct Page {
    access: Access,
    most: Access,
    content: Content,
}

#[derive(Default)]
struct SpaceModel {
    pages: BTreeMap<usize, Page>,
    leaving: Option<(UnmapInProgress, core::ops::Range<usize>)>,
}

impl SpaceModel {
    /// Frames that a space needs with nothing under way: the root, private pages, and a table for each span.
    fn needed(&self) -> u64 {
        let spans = [9, 18, 27].map(|shift| self.pages.keys().map(|page| page >> shift).collect::<BTreeSet<_>>().len());
        let private = self.pages.values().filter(|page| !matches!(page.content, Content::Shared { .. })).count();
        (1 + private + spans.iter().sum::<usize>()) as u64
    }

    fn is_leaving(&self, page: usize) -> bool {
        self.leaving.as_ref().is_some_and(|(_, range)| range.contains(&page))
    }

    fn pick(&self, pick: Pick) -> usize {
        match pick {
            Pick::Mapped(number) if !self.pages.is_empty() => {
                *self.pages.keys().nth(number % self.pages.len()).unwrap()
            }
            Pick::Mapped(number) | Pick::InWindow(number) => BASE.0 / PAGE_SIZE + number % WINDOW,
        }
    }
}

struct Model {
    world: World,
    spaces: [Space; SPACES],
    models: [SpaceModel; SPACES],
    objects: Vec<Arc<MemoryObject<TestMachine>>>,
    /// What the pages of objects hold.
    shared: BTreeMap<(u64, usize), u64>,
}

fn address(page: usize) -> VirtualAddress {
    VirtualAddress(page * PAGE_SIZE)
}

impl Model {
    fn new() -> Self {
        let frames = POOL.lock().pop().unwrap_or_else(|| TestMachine::with_frames(FRAMES));
        let world = world_of(frames, LIMIT);
        let spaces = core::array::from_fn(|_| world.another());
        Self { world, spaces, models: Default::default(), objects: Vec::new(), shared: BTreeMap::new() }
    }

    /// Notes a mapping that was made, or that a refusal has changed nothing.
    fn mapped(
        &mut self,
        which: usize,
        made: Result<VirtualAddress, RegionError>,
        pages: usize,
        access: Access,
        most: Access,
        content: impl Fn(usize) -> Content,
    ) {
        match made {
            Ok(start) => {
                for page in 0..pages {
                    let new = Page { access, most, content: content(page) };
                    let before = self.models[which].pages.insert(start.0 / PAGE_SIZE + page, new);
                    assert!(before.is_none(), "mappings stay apart");
                }
            }
            Err(RegionError::Reserve(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn apply(&mut self, which: usize, operation: &Operation) {
        match *operation {
            Operation::MapAt { page, pages, access } => {
                let page = BASE.0 / PAGE_SIZE + page;
                let made = self.spaces[which].map_anonymous(address(page), pages, access);
                let model = &self.models[which];
                if model.pages.range(page..page + pages).next().is_some()
                    || (page..page + pages).any(|page| model.is_leaving(page))
                {
                    assert_eq!(made, Err(RegionError::Occupied(address(page))));
                } else {
                    let made = made.map(|()| address(page));
                    self.mapped(which, made, pages, access, Access::all(), |_| Content::Private(0));
                }
            }
            Operation::Allocate { pages, access } => {
                let made = self.spaces[which].allocate(pages, access);
                self.mapped(which, made, pages, access, Access::all(), |_| Content::Private(0));
            }
            Operation::KernelOwned { page } => {
                let page = BASE.0 / PAGE_SIZE + page;
                let is_free = !self.models[which].pages.contains_key(&page) && !self.models[which].is_leaving(page);
                let made = self.spaces[which].map_kernel_owned::<1>(Some(address(page)), READ_WRITE);
                if is_free {
                    let made = made.map(|(start, _)| start);
                    self.mapped(which, made, 1, READ_WRITE, READ_WRITE, |_| Content::Kernel);
                } else {
                    assert_eq!(made.err(), Some(RegionError::Occupied(address(page))));
                }
            }
            Operation::Create { pages } => {
                let made = MemoryObject::create(self.world.graves, &self.world.quota, pages);
                self.objects.extend(made.ok());
            }
            Operation::MapObject { object, first, pages, access } => {
                let Some(object) = self.objects.get(object % self.objects.len().max(1)).cloned() else { return };
                let made = self.spaces[which].map_object(&object, first, pages, access);
                if access.contains(Access::EXECUTE) {
                    assert_eq!(made, Err(RegionError::BadAccess(access)));
                } else if first + pages > object.pages() {
                    assert_eq!(made, Err(RegionError::OutsideObject));
                } else {
                    let id = object.id();
                    self.mapped(which, made, pages, access, access, |page| Content::Shared { id, page: first + page });
                }
            }
            Operation::GiveUp { object } => {
                if !self.objects.is_empty() {
                    let index = object % self.objects.len();
                    self.objects.swap_remove(index);
                }
            }
            Operation::Write { page, value } => self.write(which, self.models[which].pick(page), value),
            Operation::Read { page } => self.read(which, self.models[which].pick(page)),
            Operation::BeginUnmap { page, pages } => self.begin_unmap(which, page, pages),
            Operation::StepUnmap { most } => self.step_unmap(which, most),
            Operation::Protect { page, pages, access, most } => {
                self.protect(which, self.models[which].pick(page), pages, access, most);
            }
            Operation::FreeObjects { most } => {
                let free = self.world.frames.free_count();
                let _ = self.world.graves.free_step(most);
                assert!(self.world.frames.free_count() - free <= most as u64);
            }
        }
    }

    /// What a first use must lead to. `None`: a range is going away there, and it depends on how far that is.
    fn expected(&self, which: usize, page: usize, need: Access) -> Option<Result<(), FaultDenied>> {
        let model = &self.models[which];
        if model.is_leaving(page) {
            return None;
        }
        Some(match model.pages.get(&page) {
            None => Err(FaultDenied::NotMapped),
            Some(page) if page.access.contains(need) => Ok(()),
            Some(_) => Err(FaultDenied::NotAllowed),
        })
    }

    fn write(&mut self, which: usize, page: usize, value: u64) {
        let Some(expected) = self.expected(which, page, Access::WRITE) else { return };
        let place = page * PAGE_SIZE + 8;
        let written =
            copy_to_user(self.world.frames.machine(), &self.spaces[which], place as u64, &value.to_ne_bytes());
        assert_eq!(written.is_ok(), expected.is_ok());
        assert_eq!(self.spaces[which].fault(address(page), Access::WRITE).map(drop), expected);
        if let (Ok(()), Some(page)) = (written, self.models[which].pages.get_mut(&page)) {
            match &mut page.content {
                Content::Private(content) => *content = value,
                Content::Kernel => {}
                Content::Shared { id, page } => drop(self.shared.insert((*id, *page), value)),
            }
        }
    }

    fn read(&self, which: usize, page: usize) {
        let Some(expected) = self.expected(which, page, READ) else { return };
        let mut bytes = [0; 8];
        let place = page * PAGE_SIZE + 8;
        let read = copy_from_user(self.world.frames.machine(), &self.spaces[which], place as u64, &mut bytes);
        assert_eq!(read.is_ok(), expected.is_ok());
        if read.is_err() {
            return;
        }
        match self.models[which].pages[&page].content {
            Content::Private(content) => assert_eq!(u64::from_ne_bytes(bytes), content),
            Content::Kernel => {}
            Content::Shared { id, page } => {
                assert_eq!(u64::from_ne_bytes(bytes), self.shared.get(&(id, page)).copied().unwrap_or(0));
            }
        }
    }

    fn begin_unmap(&mut self, which: usize, page: Pick, pages: usize) {
        let model = &mut self.models[which];
        let page = model.pick(page);
        let range = page..page + pages;
        let begun = self.spaces[which].unmap_begin(address(page), pages * PAGE_SIZE);
        let touched = || model.pages.range(range.clone());
        if range.clone().any(|page| model.is_leaving(page)) {
            assert_eq!(begun.err(), Some(RegionError::Busy(address(page))));
        } else if touched().next().is_none() {
            assert_eq!(begun.err(), Some(RegionError::NotMapped(address(page))));
        } else if touched().any(|(_, page)| page.content == Content::Kernel) {
            assert_eq!(begun.err(), Some(RegionError::KernelOwned(address(page))));
        } else {
            // A second one beside it is finished at once.
            let second = model.leaving.replace((begun.unwrap(), range));
            model.pages.retain(|&page, _| !model.leaving.as_ref().is_some_and(|(_, range)| range.contains(&page)));
            if let Some((mut first, _)) = second {
                while self.step(which, &mut first, 64) == Progress::Unfinished {}
            }
        }
    }

    fn step(&self, which: usize, unmap: &mut UnmapInProgress, most: usize) -> Progress {
        let step = self.spaces[which].unmap_step(unmap, most);
        assert!(step.frames().len() <= most);
        self.spaces[which].unmap_settle(unmap, step)
    }

    fn step_unmap(&mut self, which: usize, most: usize) {
        let Some((mut unmap, range)) = self.models[which].leaving.take() else { return };
        if self.step(which, &mut unmap, most) == Progress::Unfinished {
            self.models[which].leaving = Some((unmap, range));
        }
    }

    fn protect(&mut self, which: usize, start: usize, pages: usize, access: Access, most: usize) {
        let changed =
            self.spaces[which].protect_begin(address(start), pages * PAGE_SIZE, access).and_then(|mut change| {
                while self.spaces[which].protect_step(&mut change, most)? == Progress::Unfinished {}
                Ok(())
            });
        let model = &mut self.models[which];
        let range = start..start + pages;
        if model.pages.range(range.clone()).any(|(_, page)| page.content == Content::Kernel) {
            assert_eq!(changed, Err(RegionError::KernelOwned(address(start))));
            return;
        }
        let mut expected = Ok(());
        for page in range {
            let place = address(page);
            if model.is_leaving(page) {
                expected = Err(RegionError::Busy(place));
                break;
            }
            match model.pages.get_mut(&page) {
                None => expected = Err(RegionError::NotMapped(place)),
                Some(page) if !page.most.contains(access) => expected = Err(RegionError::NotPermitted(access)),
                Some(page) => page.access = access,
            }
            if expected.is_err() {
                break;
            }
        }
        assert_eq!(changed, expected);
    }

    /// Frames that objects need that are alive or not freed yet are all that the spaces do not need.
    fn check(&self) {
        let (allocated, promised, charged) = self.world.used();
        assert!(allocated <= promised && promised == charged, "{allocated} of {promised}, charged {charged}");
    }

    /// Everything under way is finished: then the account is exact.
    fn check_exactly(&mut self) {
        for which in 0..SPACES {
            while self.models[which].leaving.is_some() {
                self.step_unmap(which, 64);
            }
        }
        self.world.free_objects();
        let mut alive: BTreeMap<u64, usize> = self.objects.iter().map(|object| (object.id(), object.pages())).collect();
        let mut needed = 1;
        for (space, model) in self.spaces.iter().zip(&self.models) {
            needed += model.needed();
            let mut from = VirtualAddress(0);
            while let Some(mapping) = space.mapping_from(from) {
                if let Some((id, _)) = mapping.object {
                    alive.entry(id).or_insert(0);
                }
                from = mapping.range.end;
            }
        }
        let (_, promised, _) = self.world.used();
        assert_eq!(self.world.graves.objects(), alive.len());
        if alive.values().all(|&pages| pages > 0) {
            let tables = |pages: usize| if pages <= 512 { 1 } else { pages.div_ceil(512) + 1 };
            let objects: usize = alive.values().map(|&pages| pages + tables(pages)).sum();
            assert_eq!(promised, needed + objects as u64);
        }
        for (which, model) in self.models.iter().enumerate() {
            model.pages.keys().for_each(|&page| self.read(which, page));
        }
        self.check();
    }

    fn end(self) {
        let Self { world, spaces, objects, models, .. } = self;
        drop((objects, models));
        drop(spaces);
        world.free_objects();
        assert_eq!(world.used(), (1, 1, 1), "the root of the world's own space");
        assert_eq!(world.graves.objects(), 0);
        let frames = world.frames;
        drop(world);
        POOL.lock().push(frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spaces_do_what_a_list_of_pages_does(
        operations in proptest::collection::vec((0..SPACES, operation()), 1..120),
        abandon in any::<bool>(),
    ) {
        let mut model = Model::new();
        for (which, operation) in &operations {
            model.apply(*which, operation);
            model.check();
        }
        if !abandon {
            model.check_exactly();
        }
        model.end();
    }
}
