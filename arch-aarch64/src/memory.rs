//! Physical memory at boot: what is free, and the kernel's own translation tables.

#[cfg(target_arch = "aarch64")]
pub use install::*;
use tessera_hal::{Frame, MemoryRegion, PAGE_SIZE, PhysicalAddress};

/// How many ranges are kept. Memory beyond that many is not used.
pub const MAX_REGIONS: usize = 32;

/// Ranges of whole frames.
#[derive(Clone, Copy, Debug)]
pub struct Regions {
    list: [MemoryRegion; MAX_REGIONS],
    count: usize,
}

impl Regions {
    /// None.
    pub const fn new() -> Self {
        Self { list: [MemoryRegion { start: Frame::from_number(0), frames: 0 }; MAX_REGIONS], count: 0 }
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[MemoryRegion] {
        &self.list[..self.count]
    }

    /// Adds the whole frames of a range. Answers whether there was room.
    pub fn add(&mut self, start: PhysicalAddress, bytes: u64) -> bool {
        let page = PAGE_SIZE as u64;
        let first = start.0.div_ceil(page);
        let end = start.0.saturating_add(bytes) / page;
        if end <= first {
            return true;
        }
        let Some(place) = self.list.get_mut(self.count) else { return false };
        *place = MemoryRegion { start: Frame::from_number(first), frames: end - first };
        self.count += 1;
        true
    }

    /// Removes every frame that a range touches. What does not fit in the list any more is given up.
    pub fn remove(&mut self, start: PhysicalAddress, bytes: u64) {
        let page = PAGE_SIZE as u64;
        let (first, end) = (start.0 / page, start.0.saturating_add(bytes).div_ceil(page));
        let old = *self;
        self.count = 0;
        for region in old.as_slice() {
            let (from, to) = (region.start.number(), region.start.number() + region.frames);
            for (from, to) in [(from, to.min(first)), (from.max(end), to)] {
                if from < to {
                    self.add(PhysicalAddress(from * page), (to - from) * page);
                }
            }
        }
    }
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_arch = "aarch64")]
mod install {
    use super::Regions;
    use crate::paging::{DEVICES, DIRECT_MAP, KERNEL_BASE, KernelTables, Kind, OutOfTables, PAGE, RAM_BASE};
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{ReadWriteable, SCTLR_EL1, TTBR0_EL1, TTBR1_EL1, Writeable};
    use core::sync::atomic::{AtomicU64, Ordering};
    use tessera_hal::{Frame, PhysicalAddress};

    unsafe extern "C" {
        static __image_start: u8;
        static __text_end: u8;
        static __constants_end: u8;
        static __boot_stack_guard: u8;
        static __emergency_stack_guard: u8;
        static __image_end: u8;
    }

    macro_rules! symbol {
        ($name:ident) => {
            // Taking the address of the linker's symbol reads nothing.
            (&raw const $name) as usize
        };
    }

    static KERNEL_LOW_ROOT: AtomicU64 = AtomicU64::new(0);

    fn physical(address: usize) -> PhysicalAddress {
        PhysicalAddress((address - KERNEL_BASE) as u64 + RAM_BASE)
    }

    /// The kernel's image in physical memory: start and end.
    pub fn image() -> (PhysicalAddress, PhysicalAddress) {
        (physical(symbol!(__image_start)), physical(symbol!(__image_end)))
    }

    /// Builds the kernel's tables from the frames behind its image, and switches to them: code, constants and data
    /// with just their rights, a hole under each stack, the direct map of `ram`, the registers of `devices`, and nothing
    /// in the low half. Answers the first address behind the tables.
    ///
    /// # Safety
    /// Once per boot, on the boot tables, on the boot CPU. The memory behind the image must be free and lie in the
    /// first GiB of RAM.
    pub unsafe fn install(ram: &Regions, devices: &[(PhysicalAddress, u64)]) -> Result<PhysicalAddress, OutOfTables> {
        let (image_start, image_end) = image();
        let limit = RAM_BASE + (1 << 30);
        let mut next = image_end.0;
        let mut allocate = || {
            let frame = Frame::containing(PhysicalAddress(next));
            next += PAGE;
            let inside = |region: &tessera_hal::MemoryRegion| {
                (region.start.number()..region.start.number() + region.frames).contains(&frame.number())
            };
            (next <= limit && ram.as_slice().iter().any(inside)).then_some(frame)
        };
        let window = KERNEL_BASE.wrapping_sub(RAM_BASE as usize);
        // SAFETY: the boot tables map the first GiB of RAM writable at KERNEL_BASE, and the caller says that it is free.
        let tables = unsafe { KernelTables::new(window, &mut allocate) }?;
        let low_root = tables.root();
        // The low half's root stays empty; the high half gets a second one.
        // SAFETY: as above.
        let mut tables = unsafe { KernelTables::new(window, &mut allocate) }?;
        map_image(&mut tables)?;
        let mut direct = *ram;
        direct.remove(image_start, image_end.0 - image_start.0);
        for region in direct.as_slice() {
            let start = region.start.start();
            tables.map(DIRECT_MAP + start.0 as usize, start, region.frames * PAGE, Kind::Data)?;
        }
        for &(start, bytes) in devices {
            tables.map(DEVICES + start.0 as usize, start, bytes, Kind::Registers)?;
        }
        switch(low_root, tables.root());
        Ok(PhysicalAddress(next))
    }

    fn map_image(tables: &mut KernelTables<'_>) -> Result<(), OutOfTables> {
        let stack_guard = symbol!(__boot_stack_guard);
        let emergency_guard = symbol!(__emergency_stack_guard);
        let ranges = [
            (symbol!(__image_start), symbol!(__text_end), Kind::Code),
            (symbol!(__text_end), symbol!(__constants_end), Kind::Constants),
            (symbol!(__constants_end), stack_guard, Kind::Data),
            (stack_guard + PAGE as usize, emergency_guard, Kind::Data),
            (emergency_guard + PAGE as usize, symbol!(__image_end), Kind::Data),
        ];
        for (start, end, kind) in ranges {
            tables.map(start, physical(start), (end - start) as u64, kind)?;
        }
        Ok(())
    }

    fn switch(low_root: Frame, root: Frame) {
        KERNEL_LOW_ROOT.store(low_root.start().0, Ordering::Relaxed);
        barrier::dsb(barrier::ISH);
        TTBR1_EL1.set(root.start().0);
        load_kernel_low_root();
        // Whatever is writable is from now on never executed, whatever its entry says.
        SCTLR_EL1.modify(SCTLR_EL1::WXN::Enable);
        barrier::isb(barrier::SY);
        flush_all();
    }

    /// Loads the empty low half.
    pub fn load_kernel_low_root() {
        TTBR0_EL1.set(KERNEL_LOW_ROOT.load(Ordering::Relaxed));
        barrier::isb(barrier::SY);
    }

    fn flush_all() {
        // SAFETY: dropping cached translations changes no mapping.
        unsafe { core::arch::asm!("tlbi vmalle1", "dsb ish", "isb", options(nostack)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(regions: &Regions) -> std::vec::Vec<(u64, u64)> {
        regions.as_slice().iter().map(|region| (region.start.number(), region.frames)).collect()
    }

    #[test]
    fn what_is_in_use_is_cut_out_to_whole_frames() {
        let mut regions = Regions::new();
        assert!(regions.add(PhysicalAddress(0x4000_0000), 0x10_0000));
        regions.remove(PhysicalAddress(0x4000_1800), 0x1000);
        assert_eq!(ranges(&regions), [(0x40000, 1), (0x40003, 0xfd)]);
        regions.remove(PhysicalAddress(0x4000_0000), 0x1000);
        assert_eq!(ranges(&regions), [(0x40003, 0xfd)]);
        regions.remove(PhysicalAddress(0), u64::MAX);
        assert!(regions.as_slice().is_empty());
    }

    #[test]
    fn partial_frames_are_not_memory_and_a_full_list_says_so() {
        let mut regions = Regions::new();
        assert!(regions.add(PhysicalAddress(0x1800), 0x1000), "no whole frame is nothing to keep");
        assert!(regions.as_slice().is_empty());
        for number in 0..MAX_REGIONS as u64 {
            assert!(regions.add(PhysicalAddress(number * 0x10000), 0x1000));
        }
        assert!(!regions.add(PhysicalAddress(0x1000_0000), 0x1000));
    }
}
