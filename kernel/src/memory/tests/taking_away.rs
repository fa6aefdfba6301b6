//! Unmapping, other access and tear-down, in bounded steps.

use super::*;
use crate::memory::{
    address_space::{FaultDenied, Faulted},
    change::TearDown,
};
use hal::{CpuId, PAGE_SIZE};

fn is_mapped(space: &Space, page: VirtualAddress) -> bool {
    space.fault(page, READ).is_ok()
}

#[test]
fn a_part_is_unmapped_and_the_rest_stays() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 10, READ_WRITE).unwrap();
    (0..10).for_each(|page| assert!(is_mapped(space, at(BASE, page))));
    let (kept, _) = space.translate(at(BASE, 6)).unwrap();
    unmap(space, at(BASE, 3), 3).unwrap();
    assert_eq!((0..10).map(|page| is_mapped(space, at(BASE, page))).position(|mapped| !mapped), Some(3));
    assert!(!is_mapped(space, at(BASE, 5)) && is_mapped(space, at(BASE, 6)));
    assert_eq!(space.translate(at(BASE, 6)), Some((kept, READ_WRITE)));
    assert_eq!((world.used(), space.mappings()), ((11, 11, 11), 2));
    assert_eq!(unmap(space, at(BASE, 3), 3), Err(RegionError::NotMapped(at(BASE, 3))));
    space.map_anonymous(at(BASE, 4), 1, READ).unwrap();
    unmap(space, BASE, 10).unwrap();
    assert_eq!((world.used(), space.mappings()), ((1, 1, 1), 0));
}

#[test]
fn nothing_is_populated_or_placed_where_unmapping_has_begun() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 4, READ_WRITE).unwrap();
    assert!(is_mapped(space, BASE));
    let mut going = space.unmap_begin(BASE, bytes(2)).unwrap();
    assert_eq!(space.fault(at(BASE, 1), READ), Err(FaultDenied::NotMapped));
    assert_eq!(space.map_anonymous(BASE, 1, READ), Err(RegionError::Occupied(BASE)));
    assert_eq!(unmap(space, at(BASE, 1), 2), Err(RegionError::Busy(at(BASE, 1))));
    assert_eq!(protect(space, BASE, 1, READ), Err(RegionError::Busy(BASE)));
    assert!(is_mapped(space, at(BASE, 2)), "behind it everything goes on");
    let step = space.unmap_step(&mut going, 64);
    assert_eq!(step.frames().len(), 1);
    assert_eq!(world.used().2, 8, "not given back before it is settled");
    assert_eq!(space.map_anonymous(BASE, 1, READ), Err(RegionError::Occupied(BASE)), "still");
    assert_eq!(space.unmap_settle(&mut going, step), Progress::Done);
    assert_eq!(world.used().2, 6);
    space.map_anonymous(BASE, 1, READ).unwrap();
}

#[test]
fn each_step_takes_a_bounded_number_of_frames() {
    let world = world(1200, 1200);
    let space = &world.space;
    space.map_anonymous(BASE, 1000, READ).unwrap();
    (0..1000).for_each(|page| assert!(is_mapped(space, at(BASE, page))));
    assert!(unmap(space, BASE, 1000).unwrap() >= 1003 / 64);
    assert_eq!(world.used(), (1, 1, 1));
}

#[test]
fn a_gibibyte_that_was_hardly_used_goes_without_a_look_at_each_page() {
    let pages = 1 << 18;
    let world = world(pages as u64 + 1024, pages as u32 + 1024);
    let space = &world.space;
    let giant = VirtualAddress(1 << 40);
    for round in 0..2 {
        space.map_anonymous(giant, pages, READ_WRITE).unwrap();
        for page in [0, 511, 512, 100_000, pages - 1] {
            assert!(is_mapped(space, at(giant, page)));
        }
        if round == 0 {
            let steps = unmap(space, giant, pages).unwrap();
            assert!(steps <= 8, "{steps} steps");
            assert_eq!(world.used(), (1, 1, 1));
        }
    }
    let steps = tear_down(&world);
    assert!(steps <= 8, "{steps} steps");
}

/// Tears the world's space down and answers the number of steps, each of which was bounded.
fn tear_down(world: &World) -> usize {
    for steps in 1.. {
        let free = world.frames.free_count();
        let state = world.space.tear_down(64);
        assert!(world.frames.free_count() - free <= 65);
        if state == TearDown::Done {
            assert_eq!(world.used(), (0, 0, 0));
            return steps;
        }
    }
    unreachable!("a tear-down ends");
}

#[test]
fn a_tear_down_in_steps_frees_every_frame_once() {
    let world = world(1400, 1400);
    let space = &world.space;
    for region in 0..300 {
        let start = at(BASE, region * 3);
        space.map_anonymous(start, 2, READ).unwrap();
        assert!(is_mapped(space, start));
    }
    space.map_anonymous(VirtualAddress(TestMachine::USER_END - PAGE_SIZE), 1, READ).unwrap();
    assert!(tear_down(&world) >= 5);
    assert_eq!(space.tear_down(64), TearDown::Done);
    assert!(!space.load_on(CpuId::BOOT));
    assert_eq!(space.map_anonymous(BASE, 1, READ), Err(RegionError::TornDown));
    assert_eq!(space.fault(BASE, READ), Err(FaultDenied::NotMapped));
}

#[test]
fn a_page_in_use_by_the_kernel_is_not_freed_and_a_freed_one_not_used() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 1, READ).unwrap();
    let mut seen = None;
    let done = space.with_page(BASE, READ, |frame| {
        assert!(space.state.try_lock().is_none(), "a tear-down has to wait");
        seen = Some(frame);
    });
    assert_eq!((done, seen), (Some(()), space.translate(BASE).map(|(frame, _)| frame)));
    tear_down(&world);
    assert_eq!(space.with_page(BASE, READ, |_| panic!("the page was used")), None);
}

#[test]
fn access_changes_for_pages_that_were_used_and_for_those_that_were_not() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 6, READ_WRITE).unwrap();
    assert!(is_mapped(space, at(BASE, 1)) && is_mapped(space, at(BASE, 2)));
    protect(space, at(BASE, 1), 3, READ).unwrap();
    assert_eq!(space.mappings(), 3);
    for page in 0..6 {
        let writable = space.fault(at(BASE, page), Access::WRITE);
        assert_eq!(writable.is_ok(), !(1..4).contains(&page), "page {page}");
    }
    assert_eq!(space.translate(at(BASE, 2)).map(|(_, access)| access), Some(READ));
    protect(space, at(BASE, 1), 3, READ_WRITE).unwrap();
    assert_eq!(space.mappings(), 1, "equal neighbours are one region again");
    assert_eq!(space.fault(at(BASE, 2), Access::WRITE), Ok(Faulted::AlreadyThere));
}

#[test]
fn pages_without_access_keep_their_bytes() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 2, READ_WRITE).unwrap();
    assert!(is_mapped(space, BASE));
    let (frame, _) = space.translate(BASE).unwrap();
    protect(space, BASE, 2, Access::empty()).unwrap();
    assert_eq!((space.translate(BASE), space.fault(BASE, READ)), (None, Err(FaultDenied::NotAllowed)));
    protect(space, BASE, 1, READ).unwrap();
    assert_eq!(space.translate(BASE), Some((frame, READ)));
    unmap(space, BASE, 2).unwrap();
    assert_eq!(world.used(), (1, 1, 1), "withdrawn pages are freed too");
}

#[test]
fn code_is_written_first_and_executed_then_never_both() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 2, READ_WRITE).unwrap();
    assert!(is_mapped(space, BASE));
    let both = READ_WRITE | Access::EXECUTE;
    assert_eq!(protect(space, BASE, 1, both), Err(RegionError::BadAccess(both)));
    assert!(world.frames.machine().published().is_empty());
    protect(space, BASE, 2, READ_EXECUTE).unwrap();
    assert_eq!(world.frames.machine().published(), [space.translate(BASE).unwrap().0]);
    assert_eq!(space.fault(BASE, Access::WRITE), Err(FaultDenied::NotAllowed));
    assert!(space.fault(at(BASE, 1), Access::EXECUTE).is_ok());
    assert_eq!(world.frames.machine().published().len(), 2, "a page that is used later is published then");
}

#[test]
fn a_hole_ends_a_change_of_access_there() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 2, READ_WRITE).unwrap();
    assert_eq!(protect(space, BASE, 3, READ), Err(RegionError::NotMapped(at(BASE, 2))));
    assert_eq!(protect(space, BASE, 0, READ), Err(RegionError::NotUserPages(BASE)));
    assert_eq!(unmap(space, at(BASE, 2), 1), Err(RegionError::NotMapped(at(BASE, 2))));
}

#[test]
fn a_wider_access_that_has_not_reached_a_page_yet_comes_with_the_fault() {
    let world = world(200, 200);
    let space = &world.space;
    space.map_anonymous(BASE, 100, READ).unwrap();
    (0..100).for_each(|page| assert!(is_mapped(space, at(BASE, page))));
    let mut change = space.protect_begin(BASE, bytes(100), READ_WRITE).unwrap();
    assert_eq!(space.protect_step(&mut change, 64), Ok(Progress::Unfinished));
    assert_eq!(space.translate(at(BASE, 99)).unwrap().1, READ);
    assert_eq!(space.fault(at(BASE, 99), Access::WRITE), Ok(Faulted::Populated));
    assert_eq!(space.protect_step(&mut change, 64), Ok(Progress::Done));
}
