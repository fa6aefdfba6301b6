//! The thread pointer of user mode: the FS base.
//!
//! A program can change the base that its CPU holds by loading a selector, so what a CPU holds is known to be right for
//! the very context that was loaded last and for no other. Each setting of a context's pointer has a number that is never
//! used twice; a CPU remembers the number that it loaded. Interrupts are masked.

use crate::percpu;
use core::sync::atomic::{AtomicU64, Ordering};
use tessera_hal::VirtualAddress;
use x86_64::registers::model_specific::FsBase;
use x86_64::registers::segmentation::{FS, Segment, SegmentSelector};
use x86_64::{PrivilegeLevel, VirtAddr};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// A context's thread pointer.
#[derive(Debug)]
pub(crate) struct ThreadPointer {
    address: u64,
    number: u64,
}

impl ThreadPointer {
    /// The pointer with this value. It must be one that user mode can have, thus canonical.
    pub fn new(address: VirtualAddress) -> Self {
        Self { address: address.0 as u64, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// Makes it this CPU's before the context runs.
    pub fn load(&self) {
        let loaded = &percpu::this().thread_pointer;
        if loaded.load(Ordering::Relaxed) == self.number {
            return;
        }
        // SAFETY: the null selector is always good, and the kernel does not use FS.
        unsafe { FS::set_reg(SegmentSelector::new(0, PrivilegeLevel::Ring0)) };
        FsBase::write(VirtAddr::new_truncate(self.address));
        loaded.store(self.number, Ordering::Relaxed);
    }
}
