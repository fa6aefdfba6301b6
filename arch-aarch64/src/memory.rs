//! Physical memory at boot: what the device tree says is free, minus what is in use, handed out frame by frame until the
//! kernel's own allocator takes the rest.
//!
//! After `finish` a small reserve remains for the tables of late device mappings. Lock level: leaf; boot only.

use crate::device_tree::{DeviceTree, MAX_REGIONS};
use crate::paging;
use core::ops::Range;
use spin::Mutex;
use tessera_hal::port::regions::Regions;
use tessera_hal::{Frame, PAGE_SIZE};

/// Frames kept back for page tables that are needed after boot.
const RESERVE: usize = 64;

static FREE: Mutex<Regions<MAX_REGIONS>> = Mutex::new(Regions::new());

/// Takes over the memory of `tree`: everything but the kernel's image, the tree itself and the initrd.
pub(crate) fn begin(tree: &DeviceTree<'_>, image: Range<u64>, itself: Range<u64>) {
    let mut free = FREE.lock();
    *free = tree.free;
    for used in [image, itself] {
        free.remove_bytes(used.start, used.end - used.start);
    }
    if let Some((start, bytes)) = tree.initrd {
        free.remove_bytes(start.0, bytes as u64);
    }
}

/// A zeroed frame. At boot, or from the small reserve afterwards. If there is none, the machine cannot be started and
/// is powered off with one line.
pub fn allocate_zeroed() -> Frame {
    let frame = FREE.lock().take_frame();
    let Some(frame) = frame else { crate::panic::fail(&"too little memory for the tables of this machine's CPUs") };
    let place = paging::direct(frame.start());
    // SAFETY: the frame was free RAM, is now the caller's alone, and stands in the direct map.
    unsafe { place.write_bytes(0, PAGE_SIZE) };
    frame
}

/// Hands all but a small reserve over to the kernel. Once.
pub(crate) fn finish() -> Regions<MAX_REGIONS> {
    let mut free = FREE.lock();
    let mut reserve = Regions::new();
    for _ in 0..RESERVE {
        if let Some(frame) = free.take_frame() {
            reserve.add_bytes(frame.start().0, PAGE_SIZE as u64);
        }
    }
    core::mem::replace(&mut *free, reserve)
}
