//! Making regions and using their pages for the first time.

use super::*;
use crate::memory::{
    address_space::{FaultDenied, Faulted},
    direct,
    object::MemoryObject,
    reservation::ReserveError,
    user_copy::{copy_from_user, copy_to_user},
};
use hal::PAGE_SIZE;
use kernel_core::limits::Exceeded;

#[test]
fn a_region_takes_no_frame_until_a_page_is_used_and_then_only_that_one() {
    let world = world(64, 64);
    let (space, machine) = (&world.space, world.frames.machine());
    assert_eq!(world.used(), (1, 1, 1), "the root");
    space.map_anonymous(BASE, 10, READ_WRITE).unwrap();
    assert_eq!(world.used(), (1, 14, 14), "ten pages and three tables are promised");
    assert_eq!(space.translate(BASE), None);
    assert_eq!(space.fault(at(BASE, 4), Access::WRITE), Ok(Faulted::Populated));
    assert_eq!(world.used(), (5, 14, 14), "a page and three tables");
    assert_eq!(space.fault(at(BASE, 4), READ), Ok(Faulted::AlreadyThere));
    assert!(space.translate(at(BASE, 4)).is_some_and(|(_, access)| access == READ_WRITE));
    assert_eq!(space.translate(at(BASE, 5)), None);
    copy_to_user(machine, space, at(BASE, 9).0 as u64 - 2, &[7; 4]).unwrap();
    let mut back = [1; 6];
    copy_from_user(machine, space, at(BASE, 9).0 as u64 - 3, &mut back).unwrap();
    assert_eq!(back, [0, 7, 7, 7, 7, 0]);
    assert_eq!(world.used(), (7, 14, 14), "the kernel's use has populated two more");
}

#[test]
fn a_fault_is_denied_where_nothing_is_mapped_and_for_what_is_not_allowed() {
    let world = world(64, 64);
    let space = &world.space;
    space.map_anonymous(BASE, 1, READ).unwrap();
    let denied = |address, need| space.fault(address, need).unwrap_err();
    assert_eq!(denied(BASE, Access::WRITE), FaultDenied::NotAllowed);
    assert_eq!(denied(BASE, Access::EXECUTE), FaultDenied::NotAllowed);
    for outside in [VirtualAddress(BASE.0 - 1), at(BASE, 1), VirtualAddress(0), VirtualAddress(usize::MAX)] {
        assert_eq!(denied(outside, READ), FaultDenied::NotMapped);
    }
    assert_eq!(world.used().0, 1, "nothing was allocated for it");
    assert_eq!(space.with_page(BASE, Access::WRITE, |_| panic!("the page was used")), None);
}

#[test]
fn an_image_page_has_the_bytes_of_the_file_and_zeros_around_them() {
    let world = world(64, 64);
    let file: &'static [u8] = (0..6000_u32).map(|index| index as u8 | 1).collect::<alloc::vec::Vec<u8>>().leak();
    let first = VirtualAddress(BASE.0 + 100);
    world.space.map_image(BASE, 3, READ_EXECUTE, file, first).unwrap();
    let mut seen = alloc::vec![9; 3 * PAGE_SIZE];
    copy_from_user(world.frames.machine(), &world.space, BASE.0 as u64, &mut seen).unwrap();
    assert!(seen[..100].iter().chain(&seen[6100..]).all(|&byte| byte == 0));
    assert_eq!(&seen[100..6100], file);
    let published = world.frames.machine().published();
    assert_eq!(published, [0, 1, 2].map(|page| world.space.translate(at(BASE, page)).unwrap().0));
}

#[test]
fn what_cannot_be_promised_is_refused_when_the_region_is_made_and_a_fault_never_fails() {
    let world = world(20, 1000);
    let space = &world.space;
    let refused = space.map_anonymous(BASE, 17, READ_WRITE);
    assert_eq!(refused, Err(RegionError::Reserve(ReserveError::OutOfFrames)));
    assert_eq!(world.used(), (1, 1, 1), "a refusal leaves nothing");
    space.map_anonymous(BASE, 16, READ_WRITE).unwrap();
    assert_eq!(space.allocate(1, READ), Err(RegionError::Reserve(ReserveError::OutOfFrames)));
    for page in 0..16 {
        assert_eq!(space.fault(at(BASE, page), READ), Ok(Faulted::Populated));
    }
    assert_eq!(world.used(), (20, 20, 20), "to the last frame");
}

#[test]
fn the_process_has_its_limit_and_gets_it_back() {
    let world = world(200, 24);
    let space = &world.space;
    let exceeded = RegionError::Reserve(ReserveError::Quota(Exceeded { asked: 24, used: 1, limit: 24 }));
    assert_eq!(space.allocate(21, READ_WRITE), Err(exceeded));
    let place = space.allocate(20, READ_WRITE).unwrap();
    assert_eq!(world.used(), (1, 24, 24));
    assert!(MemoryObject::create(world.graves, &world.quota, 1).is_err());
    assert_eq!(world.graves.objects(), 0);
    unmap(space, place, 20).unwrap();
    assert_eq!(world.used(), (1, 1, 1));
    assert!(space.allocate(20, READ_WRITE).is_ok());
    drop(world.space);
    assert_eq!((world.quota.used(), world.frames.promised_count(), world.frames.free_count()), (0, 0, 200));
}

#[test]
fn places_that_the_kernel_chooses_never_touch() {
    let world = world(400, 400);
    let space = &world.space;
    let mut places = alloc::vec::Vec::new();
    for pages in [1, 3, 2, 50, 1] {
        let start = space.allocate(pages, READ_WRITE).unwrap();
        assert!(start.0 + bytes(pages) <= TestMachine::USER_END);
        places.push((start.0, start.0 + bytes(pages)));
    }
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].1 + PAGE_SIZE <= pair[1].0), "{places:x?}");
    for (start, end) in places {
        for guard in [start - 1, end] {
            assert_eq!(space.fault(VirtualAddress(guard), READ), Err(FaultDenied::NotMapped));
        }
    }
}

#[test]
fn memory_that_comes_and_goes_keeps_its_place() {
    let world = world(64, 64);
    let first = world.space.allocate(4, READ_WRITE).unwrap();
    for _ in 0..100 {
        let place = world.space.allocate(4, READ_WRITE).unwrap();
        assert_eq!(place, VirtualAddress(first.0 - bytes(5)));
        unmap(&world.space, place, 4).unwrap();
    }
}

#[test]
fn kernel_addresses_doubles_odd_accesses_and_writable_code_are_refused() {
    let world = world(64, 64);
    let space = &world.space;
    for bad in [VirtualAddress(TestMachine::USER_END), VirtualAddress(0), VirtualAddress(BASE.0 + 8)] {
        assert_eq!(space.map_anonymous(bad, 1, READ), Err(RegionError::NotUserPages(bad)));
    }
    let last = VirtualAddress(TestMachine::USER_END - PAGE_SIZE);
    assert_eq!(space.map_anonymous(last, 2, READ), Err(RegionError::NotUserPages(last)));
    assert_eq!(space.map_anonymous(BASE, 0, READ), Err(RegionError::NotUserPages(BASE)));
    assert!(space.allocate(0, READ).is_err());
    for pages in [usize::MAX, usize::MAX / PAGE_SIZE, 1 << 40] {
        assert!(space.allocate(pages, READ).is_err());
    }
    space.map_anonymous(BASE, 2, READ).unwrap();
    assert_eq!(space.map_anonymous(at(BASE, 1), 1, READ), Err(RegionError::Occupied(at(BASE, 1))));
    for access in [Access::WRITE, Access::EXECUTE, Access::all()] {
        assert_eq!(space.allocate(1, access), Err(RegionError::BadAccess(access)));
    }
}

#[test]
fn pages_of_the_kernel_are_there_at_once_and_the_program_cannot_change_them() {
    let world = world(64, 64);
    let space = &world.space;
    let (start, [first, second]) = space.map_kernel_owned(None, READ_WRITE).unwrap();
    assert_eq!(space.translate(at(start, 1)), Some((second, READ_WRITE)));
    direct::word64(world.frames.machine(), first, 0).store(5, core::sync::atomic::Ordering::Relaxed);
    assert_eq!(unmap(space, at(start, 1), 1), Err(RegionError::KernelOwned(at(start, 1))));
    assert_eq!(protect(space, start, 2, READ), Err(RegionError::KernelOwned(start)));
    let around = space.allocate(3, READ_WRITE).unwrap();
    let all = (start.0 - around.0) / PAGE_SIZE + 2;
    assert_eq!(unmap(space, around, all), Err(RegionError::KernelOwned(around)), "not even as a part of more");
    assert!(space.fault(start, Access::WRITE).is_ok());
    let mut going = space.unmap_kernel_owned_begin(start, bytes(2)).unwrap();
    let step = space.unmap_step(&mut going, 64);
    assert!(step.frames().contains(&first) && step.frames().contains(&second));
    assert_eq!(space.unmap_settle(&mut going, step), Progress::Done);
    assert_eq!(space.fault(start, READ), Err(FaultDenied::NotMapped));
}

#[test]
fn the_number_of_mappings_is_bounded() {
    let world = world(40_000, 40_000);
    let space = &world.space;
    for _ in 0..tessera_abi::limits::MAPPINGS {
        space.allocate(1, READ).unwrap();
    }
    assert_eq!(space.allocate(1, READ), Err(RegionError::TooManyMappings));
    let last = space.mapping_from(VirtualAddress(0)).unwrap();
    unmap(space, last.range.start, 1).unwrap();
    assert!(space.allocate(1, READ).is_ok());
}
