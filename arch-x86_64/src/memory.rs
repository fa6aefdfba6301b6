//! Physical memory at boot: what the loader's map says is free, minus what is in use, handed out frame by frame
//! until the kernel's own allocator takes the rest.
//!
//! After `finish` a small reserve remains for the tables of late device mappings. Lock level: leaf; boot only.

use crate::paging;
use crate::start_info::{LOW_MEMORY_END, StartInfo};
use spin::Mutex;
use tessera_hal::port::regions::Regions;
use tessera_hal::{Frame, MemoryRegion, PAGE_SIZE};

/// The frame below 1 MiB in which secondary CPUs begin. It is RAM on every PC and never handed out.
pub const TRAMPOLINE: Frame = Frame::from_number(8);

/// Frames kept back for page tables that are needed after boot.
const RESERVE: usize = 64;
const MAX_REGIONS: usize = 128;

static FREE: Mutex<Regions<MAX_REGIONS>> = Mutex::new(Regions::new());

/// Takes over the memory of `info`: everything but what lies below 1 MiB, the kernel image and the initrd.
pub(crate) fn begin(info: &StartInfo, image: core::ops::Range<u64>) {
    let mut free = FREE.lock();
    *free = info.ram;
    free.remove_bytes(0, LOW_MEMORY_END);
    free.remove_bytes(image.start, image.end - image.start);
    if let Some((start, bytes)) = info.initrd {
        free.remove_bytes(start.0, bytes as u64);
    }
}

/// A zeroed frame. At boot, or from the small reserve afterwards. If there is none, the machine cannot be started and
/// is powered off with one line.
pub fn allocate_zeroed() -> Frame {
    let frame = FREE.lock().take_frame();
    let Some(frame) = frame else { refuse() };
    let place = paging::direct(frame.start());
    // SAFETY: the frame was free RAM, is now the caller's alone, and stands in the direct map.
    unsafe { place.write_bytes(0, PAGE_SIZE) };
    frame
}

fn refuse() -> ! {
    const REASON: &str = "too little memory for the tables of this machine's CPUs";
    #[cfg(target_os = "none")]
    crate::panic::fail(&REASON);
    #[cfg(not(target_os = "none"))]
    panic!("{REASON}");
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

/// How many bytes the regions hold.
pub fn total_bytes(regions: &[MemoryRegion]) -> u64 {
    regions.iter().map(|region| region.frames * PAGE_SIZE as u64).sum()
}
