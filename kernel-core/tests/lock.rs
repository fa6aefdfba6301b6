//! The lock, on the fake machine: what it masks, what it counts, and which orders it refuses.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::sync::level::{Object, Queue};
use kernel_core::sync::{Masked, SpinLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tessera_hal::CpuId;
use tessera_hal::fake::FakeMachine;

#[test]
fn interrupts_are_masked_while_a_lock_is_held_and_as_before_afterwards() {
    let machine = FakeMachine::new(1);
    let lock: SpinLock<u32, Queue> = SpinLock::new(0);
    {
        let mut guard = lock.lock(&machine);
        *guard += 1;
        assert!(machine.is_masked(CpuId::BOOT));
        assert_eq!(machine.locks_held(CpuId::BOOT), 1);
    }
    assert!(!machine.is_masked(CpuId::BOOT));
    let masked = Masked::new(&machine);
    drop(lock.lock(&machine));
    assert!(machine.is_masked(CpuId::BOOT), "the outer mask is still there");
    drop(masked);
    assert_eq!(machine.locks_held(CpuId::BOOT), 0);
}

#[test]
fn a_lock_that_is_held_is_not_got_by_trying_and_leaves_no_mask() {
    let machine = FakeMachine::new(2);
    let lock: SpinLock<(), Queue> = SpinLock::of_cpu(CpuId::BOOT, ());
    let guard = lock.lock(&machine);
    machine.on(CpuId::new(1), || assert!(lock.try_lock(&machine).is_none()));
    assert!(!machine.is_masked(CpuId::new(1)));
    assert_eq!(machine.locks_held(CpuId::new(1)), 0);
    drop(guard);
    assert!(lock.try_lock(&machine).is_some());
}

#[test]
fn a_lock_of_another_cpu_is_counted_as_remote() {
    let machine = FakeMachine::new(2);
    let lock: SpinLock<(), Queue> = SpinLock::of_cpu(CpuId::BOOT, ());
    let ((), own) = machine.count_on(CpuId::BOOT, || drop(lock.lock(&machine)));
    let ((), other) = machine.count_on(CpuId::new(1), || drop(lock.lock(&machine)));
    assert_eq!((own.locks, own.remote_locks), (1, 0));
    assert_eq!((other.locks, other.remote_locks), (1, 1));
}

#[test]
fn an_object_lock_comes_before_a_queue_lock_and_never_after() {
    let machine = FakeMachine::new(1);
    let object: SpinLock<(), Object> = SpinLock::new(());
    let queue: SpinLock<(), Queue> = SpinLock::new(());
    let outer = object.lock(&machine);
    drop(queue.lock(&machine));
    drop(outer);
    let _outer = queue.lock(&machine);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(object.lock(&machine)))).is_err());
}

#[test]
fn a_second_queue_is_only_tried() {
    let machine = FakeMachine::new(1);
    let queues: [SpinLock<(), Queue>; 2] = [SpinLock::new(()), SpinLock::new(())];
    let _first = queues[0].lock(&machine);
    assert!(queues[1].try_lock(&machine).is_some());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(queues[1].lock(&machine)))).is_err());
}
