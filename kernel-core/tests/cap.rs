//! Capability tables: handles, transfer in two phases, emptying.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::cap::{Handle, InvalidHandle, Table, TableFull, TakeError, TransferMode};
use tessera_abi::transfer::MAX_TRANSFER;

fn table_of(objects: impl IntoIterator<Item = u32>) -> (Table<u32>, Vec<Handle>) {
    let mut table = Table::new(1024);
    let handles = objects.into_iter().map(|object| table.insert(object).expect("room")).collect();
    (table, handles)
}

fn contents(table: &Table<u32>) -> Vec<u32> {
    let mut next = 0;
    let walk = std::iter::from_fn(|| {
        let (handle, &object) = table.next_after(next)?;
        assert!(handle.slot() >= next);
        next = handle.slot() + 1;
        Some(object)
    });
    walk.collect()
}

#[test]
fn a_handle_names_its_object_until_it_is_given_up() {
    let (mut table, handles) = table_of([1, 2]);
    assert_eq!(table.get(handles[0]), Ok(&1));
    assert_eq!(table.get(Handle::from_raw(handles[1].to_raw())), Ok(&2));
    assert_eq!(table.remove(handles[0]), Ok(1));
    assert_eq!(table.remove(handles[0]), Err(InvalidHandle(handles[0])));
    let reused = table.insert(3).expect("room");
    assert_eq!(reused.slot(), handles[0].slot(), "the slot is used again");
    assert_eq!(table.get(handles[0]), Err(InvalidHandle(handles[0])), "but the old handle stays stale");
}

#[test]
fn invented_handles_name_nothing() {
    let (table, handles) = table_of([1]);
    for raw in [0, 1 << 32 | 7, 2 << 32, u64::MAX, u64::from(u32::MAX), handles[0].to_raw() + 64] {
        let handle = Handle::from_raw(raw);
        assert_eq!(table.get(handle), Err(InvalidHandle(handle)), "{raw:#x}");
    }
}

#[test]
fn a_table_takes_as_many_as_its_limit_and_again_after_a_removal() {
    for limit in [0, 1, 63, 64, 65, 200] {
        let mut table = Table::new(limit);
        let handles: Vec<_> = std::iter::from_fn(|| table.insert(0).ok()).collect();
        assert_eq!((handles.len() as u32, table.len(), table.limit()), (limit, limit, limit));
        assert_eq!(table.insert(0), Err(TableFull));
        if let Some(&last) = handles.last() {
            assert_eq!(table.remove(last), Ok(0));
            assert!(table.insert(0).is_ok());
        }
    }
}

#[test]
fn reserved_slots_are_invisible_until_they_are_filled() {
    let (mut table, _) = table_of([1]);
    let reservation = table.reserve(2).expect("room");
    let promised = reservation.handles().to_vec();
    assert!(promised.iter().all(|&handle| table.get(handle).is_err() && table.remove(handle).is_err()));
    assert_eq!((table.len(), table.reserved(), contents(&table)), (1, 2, vec![1]));
    assert_eq!(table.fill(reservation, [7, 8])[..], promised);
    assert_eq!((table.get(promised[0]), table.get(promised[1])), (Ok(&7), Ok(&8)));
    assert_eq!((table.len(), table.reserved()), (3, 0));
}

#[test]
fn a_cancelled_reservation_gives_its_slots_back_and_its_handles_stay_dead() {
    let mut table = Table::new(2);
    let reservation = table.reserve(2).expect("room");
    let promised = reservation.handles().to_vec();
    assert_eq!(table.insert(1), Err(TableFull));
    table.cancel(reservation);
    assert!(table.insert(1).is_ok() && table.insert(2).is_ok());
    assert!(promised.iter().all(|&handle| table.get(handle).is_err()));
}

#[test]
fn a_reservation_that_does_not_fit_takes_nothing() {
    let mut table = Table::<u32>::new(3);
    assert_eq!(table.reserve(4), Err(TableFull));
    assert_eq!(table.reserve(MAX_TRANSFER + 1), Err(TableFull));
    assert_eq!(table.reserved(), 0);
    let reservation = table.reserve(3).expect("room");
    table.cancel(reservation);
}

#[test]
fn a_reservation_of_another_table_does_nothing() {
    let (mut here, _) = table_of([1]);
    let (mut there, _) = table_of([1]);
    let (mine, theirs) = (here.reserve(1).expect("room"), there.reserve(1).expect("room"));
    assert_eq!(mine.handles(), theirs.handles(), "they look alike");
    assert_eq!(here.fill(theirs, [7]), []);
    assert_eq!((here.len(), here.reserved()), (1, 1));
    assert_eq!(here.fill(mine, [7]).len(), 1);
}

#[test]
fn copies_stay_and_moves_leave() {
    let (mut table, handles) = table_of([1, 2, 3]);
    let wanted = [(handles[2], TransferMode::Move), (handles[0], TransferMode::Copy), (handles[0], TransferMode::Copy)];
    assert_eq!(table.take(&wanted).expect("all valid"), [3, 1, 1]);
    assert_eq!(contents(&table), [1, 2]);
    assert_eq!(table.lend(&handles[..2]).expect("all valid"), [1, 2]);
    assert_eq!(table.lend(&handles), Err(TakeError::Invalid(handles[2])));
}

#[test]
fn what_cannot_be_taken_whole_is_not_taken_at_all() {
    let (mut table, handles) = table_of([1, 2]);
    let (copy, leave) = (TransferMode::Copy, TransferMode::Move);
    let stale = Handle::from_raw(0);
    let cases: [(&[(Handle, TransferMode)], TakeError); 5] = [
        (&[(handles[0], leave), (stale, copy)], TakeError::Invalid(stale)),
        (&[(handles[0], leave), (handles[0], leave)], TakeError::Duplicate(handles[0])),
        (&[(handles[0], copy), (handles[1], leave), (handles[0], leave)], TakeError::Duplicate(handles[0])),
        (&[(handles[0], leave), (handles[0], copy)], TakeError::Duplicate(handles[0])),
        (&[(handles[0], copy); MAX_TRANSFER + 1], TakeError::TooMany(MAX_TRANSFER + 1)),
    ];
    for (wanted, error) in cases {
        assert_eq!(table.take(wanted), Err(error));
        assert_eq!(contents(&table), [1, 2]);
    }
}

#[test]
fn emptying_goes_by_steps_and_takes_nothing_more() {
    let (mut table, handles) = table_of(0..100);
    let reservation = table.reserve(1).expect("room");
    let mut left = Vec::new();
    assert!(!table.drain_step(64, &mut |object| left.push(object)));
    assert_eq!(left.len(), 64);
    assert_eq!((table.insert(7), table.reserve(1)), (Err(TableFull), Err(TableFull)));
    let mut late = [7].into_iter();
    assert_eq!(table.fill(reservation, late.by_ref()), []);
    assert_eq!(late.next(), Some(7), "it was left to whoever sent it");
    assert_eq!(table.remove(handles[99]), Ok(99));
    assert!(table.drain_step(64, &mut |object| left.push(object)));
    assert!(left.into_iter().eq(0..99));
    assert_eq!((table.len(), table.reserved()), (0, 0));
}
