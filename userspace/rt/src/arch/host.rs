//! A stand-in for machine and kernel, for tests on a host: each thread of the host can have a ring and somebody who
//! consumes it.

use std::{
    boxed::Box,
    cell::{Cell, RefCell},
    thread_local,
};

/// What answers the system calls of a thread: gets the number and the two arguments.
pub type FakeKernel = Box<dyn FnMut(usize, usize, u64) -> isize>;

thread_local! {
    static RING: Cell<usize> = const { Cell::new(0) };
    static KERNEL: RefCell<Option<FakeKernel>> = const { RefCell::new(None) };
}

/// Gives the calling thread a ring at this address and a kernel.
#[cfg(test)]
pub fn become_thread(ring: usize, kernel: FakeKernel) {
    RING.set(ring);
    KERNEL.set(Some(kernel));
}

/// A system call of the calling thread.
pub fn system_call(number: usize, first: usize, second: u64) -> isize {
    KERNEL.with_borrow_mut(|kernel| match kernel {
        Some(kernel) => kernel(number, first, second),
        None => panic!("the thread has no kernel"),
    })
}

/// The address of the calling thread's ring.
pub fn ring_address() -> usize {
    RING.get()
}

/// There are no threads of a program.
pub fn thread_entry() -> usize {
    0
}

/// There are no threads of a program.
pub fn enter_and_end() -> ! {
    panic!("a thread of the host cannot end so")
}
