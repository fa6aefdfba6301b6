//! Memory objects, and what two spaces see of each other.

use super::*;
use crate::memory::{
    address_space::{FaultDenied, WordKey},
    object::{MemoryObject, ObjectError, OutsideObject},
    user_copy::{BadBuffer, CopyError, copy_between, copy_from_user, copy_to_user, key_of_word, read_word},
};
use hal::PAGE_SIZE;

#[test]
fn two_spaces_see_the_same_bytes_of_an_object() {
    let world = world(100, 100);
    let machine = world.frames.machine();
    let object = MemoryObject::create(world.graves, &world.quota, 10).unwrap();
    let other = world.another();
    let here = world.space.map_object(&object, 2, 8, READ_WRITE).unwrap();
    let there = other.map_object(&object, 3, 2, READ).unwrap();
    copy_to_user(machine, &world.space, at(here, 1).0 as u64 + 5, b"shared").unwrap();
    let mut seen = [0; 6];
    copy_from_user(machine, &other, there.0 as u64 + 5, &mut seen).unwrap();
    assert_eq!(&seen, b"shared");
    assert!(copy_to_user(machine, &other, there.0 as u64, b"x").is_err(), "read-only there");
    assert_eq!(world.space.translate(at(here, 1)).map(|(frame, _)| frame), object.page(3).ok());
}

#[test]
fn an_object_outlives_its_mappings_and_its_creators_handle() {
    let world = world(100, 100);
    let machine = world.frames.machine();
    let before = world.used();
    let object = MemoryObject::create(world.graves, &world.quota, 4).unwrap();
    let place = world.space.map_object(&object, 0, 4, READ_WRITE).unwrap();
    copy_to_user(machine, &world.space, place.0 as u64, b"kept").unwrap();
    unmap(&world.space, place, 4).unwrap();
    let other = world.another();
    let there = other.map_object(&object, 0, 4, READ).unwrap();
    drop(object);
    assert_eq!(world.graves.free_step(64), GraveStep::Done, "the mapping keeps it");
    let mut seen = [0; 4];
    copy_from_user(machine, &other, there.0 as u64, &mut seen).unwrap();
    assert_eq!(&seen, b"kept");
    drop(other);
    assert_eq!(world.graves.objects(), 1, "not free yet");
    assert!(world.used().2 > before.2, "and paid for");
    world.free_objects();
    assert_eq!((world.graves.objects(), world.used()), (0, before));
}

#[test]
fn the_frames_of_an_object_that_is_unmapped_stay_until_no_cpu_can_reach_them() {
    let world = world(100, 100);
    let object = MemoryObject::create(world.graves, &world.quota, 1).unwrap();
    let place = world.space.map_object(&object, 0, 1, READ).unwrap();
    drop(object);
    let mut unmap = world.space.unmap_begin(place, PAGE_SIZE).unwrap();
    let step = world.space.unmap_step(&mut unmap, 64);
    assert_eq!(world.graves.free_step(64), GraveStep::Done, "other CPUs may have translations");
    assert_eq!(world.graves.objects(), 1);
    assert_eq!(world.space.unmap_settle(&mut unmap, step), Progress::Done);
    world.free_objects();
    assert_eq!(world.graves.objects(), 0);
}

#[test]
fn an_object_mapping_never_gets_more_access_than_it_was_made_with() {
    let world = world(100, 100);
    let object = MemoryObject::create(world.graves, &world.quota, 2).unwrap();
    let space = &world.space;
    assert_eq!(space.map_object(&object, 0, 1, READ_EXECUTE), Err(RegionError::BadAccess(READ_EXECUTE)));
    let place = space.map_object(&object, 0, 2, READ).unwrap();
    assert_eq!(protect(space, place, 1, READ_WRITE), Err(RegionError::NotPermitted(READ_WRITE)));
    assert_eq!(protect(space, place, 1, READ_EXECUTE), Err(RegionError::NotPermitted(READ_EXECUTE)));
    assert_eq!(space.fault(place, Access::WRITE), Err(FaultDenied::NotAllowed));
    let writable = space.map_object(&object, 0, 2, READ_WRITE).unwrap();
    protect(space, writable, 2, READ).unwrap();
    protect(space, writable, 2, READ_WRITE).unwrap();
    assert!(space.fault(writable, Access::WRITE).is_ok());
}

#[test]
fn what_is_not_inside_the_object_cannot_be_mapped_or_used() {
    let world = world(100, 100);
    assert_eq!(MemoryObject::create(world.graves, &world.quota, 0).err(), Some(ObjectError::Empty));
    for pages in [101, 1 << 40, usize::MAX] {
        assert!(MemoryObject::create(world.graves, &world.quota, pages).is_err());
    }
    let object = MemoryObject::create(world.graves, &world.quota, 4).unwrap();
    for (first, pages) in [(0, 5), (4, 1), (2, 3), (usize::MAX, 1), (1, usize::MAX), (0, 0)] {
        assert_eq!(world.space.map_object(&object, first, pages, READ), Err(RegionError::OutsideObject));
    }
    assert_eq!(object.page(4), Err(OutsideObject { page: 4 }));
    assert_ne!(object.id(), MemoryObject::create(world.graves, &world.quota, 4).unwrap().id());
}

#[test]
fn an_object_of_several_levels_is_freed_in_bounded_steps() {
    let world = world(3000, 3000);
    let before = world.used();
    let object = MemoryObject::create(world.graves, &world.quota, 2000).unwrap();
    assert_eq!(world.used().2 - before.2, 2005, "four tables of pages, and one above");
    let places: alloc::vec::Vec<_> = (0..2000).map(|page| object.page(page).unwrap()).collect();
    assert_eq!(object.page(777), Ok(places[777]));
    assert_eq!(world.used().0 - before.0, 2005);
    drop(object);
    let mut steps = 0;
    loop {
        let free = world.frames.free_count();
        let step = world.graves.free_step(64);
        assert!(world.frames.free_count() - free <= 64);
        steps += 1;
        if step == GraveStep::Done {
            break;
        }
    }
    assert!(steps >= 2005 / 64, "{steps}");
    assert_eq!(world.used(), before);
}

#[test]
fn a_word_has_one_key_however_it_is_reached() {
    let world = world(100, 100);
    let (space, machine) = (&world.space, world.frames.machine());
    let object = MemoryObject::create(world.graves, &world.quota, 4).unwrap();
    let first = space.map_object(&object, 0, 4, READ_WRITE).unwrap();
    let second = space.map_object(&object, 3, 1, READ).unwrap();
    let key = WordKey::Shared { object: object.id(), offset: bytes(3) as u64 + 8 };
    assert_eq!(key_of_word(space, at(first, 3).0 as u64 + 8), Ok(key));
    assert_eq!(key_of_word(space, second.0 as u64 + 8), Ok(key));
    let private = space.allocate(1, READ_WRITE).unwrap();
    assert_eq!(key_of_word(space, private.0 as u64 + 4), Ok(WordKey::Private(VirtualAddress(private.0 + 4))));
    copy_to_user(machine, space, private.0 as u64 + 4, &7_u32.to_ne_bytes()).unwrap();
    assert_eq!(read_word(machine, space, private.0 as u64 + 4), Ok(7));
    assert_eq!(read_word(machine, space, second.0 as u64), Ok(0), "a page that was never used");
    for bad in [private.0 + 2, private.0 + PAGE_SIZE, 0] {
        let error = BadBuffer { address: VirtualAddress(bad) };
        assert_eq!(read_word(machine, space, bad as u64), Err(error));
        assert_eq!(key_of_word(space, bad as u64), Err(error));
    }
}

#[test]
fn bytes_go_from_one_space_to_another_and_errors_say_whose_they_are() {
    let world = world(100, 100);
    let (space, machine, other) = (&world.space, world.frames.machine(), world.another());
    space.map_anonymous(BASE, 2, READ_WRITE).unwrap();
    other.map_anonymous(BASE, 2, READ_WRITE).unwrap();
    let text: alloc::vec::Vec<u8> = (0..5000_u32).map(|index| (index * 7) as u8).collect();
    let base = BASE.0 as u64;
    copy_to_user(machine, space, base + 9, &text).unwrap();
    copy_between(machine, (space, base + 9), (&other, base + 1001), 5000).unwrap();
    let mut seen = alloc::vec![0; 5000];
    copy_from_user(machine, &other, base + 1001, &mut seen).unwrap();
    assert_eq!(seen, text);
    let end = at(BASE, 2);
    let bad = BadBuffer { address: end };
    assert_eq!(copy_between(machine, (space, end.0 as u64 - 4), (&other, base), 8), Err(CopyError::From(bad)));
    assert_eq!(copy_between(machine, (space, base), (&other, end.0 as u64 - 4), 8), Err(CopyError::To(bad)));
    assert!(copy_between(machine, (space, u64::MAX - 2), (&other, base), 8).is_err());
    assert_eq!(copy_between(machine, (space, 0), (&other, 0), 0), Ok(()));
}
