//! User mode's FPU and SIMD state: the thread's own, allocated at first use, never seen by another.
//!
//! CR0.TS is set whenever the registers hold anything but the running context's state, so that its first FPU
//! instruction traps and loads its own (a fresh one the initial state, which covers every component). A CPU remembers
//! whose state it holds by a number that is never used twice, and a context on which CPU it was loaded last: only if both
//! agree are the registers current. Interrupts are masked in all of this.

use crate::features::{Features, features};
use crate::percpu;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tessera_hal::CpuId;
use x86_64::registers::control::{Cr0, Cr0Flags};
use x86_64::registers::xcontrol::XCr0;

/// x87, SSE, AVX and the three of AVX-512. Not the tiles (which need their own permission), not protection keys.
const WANTED_COMPONENTS: u64 = 0b1110_0111;
const FXSAVE_BYTES: usize = 512;
const AREA_ALIGN: usize = 64;
/// Where the control words stand, and what they are after a reset as compilers expect it.
const CONTROL_WORD: (usize, u16) = (0, 0x37f);
const SIMD_CONTROL: (usize, u32) = (24, 0x1f80);

/// Bytes of a save area; 0 until [`enable`].
static AREA_BYTES: AtomicUsize = AtomicUsize::new(0);
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// A thread's FPU state. Empty until it uses the FPU.
#[derive(Debug)]
pub struct FpuState {
    area: Option<Area>,
    loaded_on: Option<CpuId>,
    /// Whether the registers may be newer than the area.
    unsaved: bool,
}

/// A save area with its number.
#[derive(Debug)]
struct Area {
    bytes: NonNull<u8>,
    number: u64,
}

// SAFETY: the area is owned memory; only the CPU that runs or saves the thread touches it.
unsafe impl Send for Area {}

impl FpuState {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { area: None, loaded_on: None, unsaved: false }
    }
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

fn layout() -> Option<Layout> {
    Layout::from_size_align(AREA_BYTES.load(Ordering::Relaxed), AREA_ALIGN).ok().filter(|layout| layout.size() > 0)
}

impl Area {
    /// The initial state; `None` if there is no memory.
    fn allocate() -> Option<Self> {
        // SAFETY: the layout is not empty.
        let bytes = NonNull::new(unsafe { alloc_zeroed(layout()?) })?;
        let control = bytes.as_ptr().wrapping_add(CONTROL_WORD.0).cast::<u16>();
        // SAFETY: the offset is inside the area and aligned.
        unsafe { control.write(CONTROL_WORD.1) };
        let simd = bytes.as_ptr().wrapping_add(SIMD_CONTROL.0).cast::<u32>();
        // SAFETY: as above.
        unsafe { simd.write(SIMD_CONTROL.1) };
        Some(Self { bytes, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) })
    }

    fn load(&self) {
        let area = self.bytes.as_ptr();
        if features().contains(Features::XSAVE) {
            // SAFETY: the area has the size for XCR0's components, is aligned, and was made by us or by XSAVE.
            unsafe { asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack)) };
        } else {
            // SAFETY: as above, for FXSAVE.
            unsafe { asm!("fxrstor64 [{}]", in(reg) area, options(nostack)) };
        }
    }

    fn save(&self) {
        let area = self.bytes.as_ptr();
        let features = features();
        if features.contains(Features::XSAVEOPT) {
            // SAFETY: as in `load`. This CPU loaded this very area last, so that "not changed since" is true of it.
            unsafe { asm!("xsaveopt64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack)) };
        } else if features.contains(Features::XSAVE) {
            // SAFETY: as in `load`.
            unsafe { asm!("xsave64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack)) };
        } else {
            // SAFETY: as in `load`.
            unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack)) };
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        if let Some(layout) = layout() {
            // SAFETY: allocated with this layout, whose size is set once at boot.
            unsafe { dealloc(self.bytes.as_ptr(), layout) };
        }
    }
}

/// Turns the components on on this CPU (CR4 is set already) and sizes the save areas.
pub(crate) fn enable() {
    let bytes = if features().contains(Features::XSAVE) {
        let leaf = __cpuid_count(0xd, 0);
        let offered = u64::from(leaf.eax) | u64::from(leaf.edx) << 32;
        let wanted = components(offered);
        // SAFETY: only offered components, x87 and SSE among them, AVX-512 whole or not at all.
        unsafe { XCr0::write_raw(wanted) };
        __cpuid_count(0xd, 0).ebx as usize
    } else {
        FXSAVE_BYTES
    };
    AREA_BYTES.store(bytes, Ordering::Relaxed);
}

/// The components to turn on: a set that the processor accepts.
fn components(offered: u64) -> u64 {
    const AVX: u64 = 0b100;
    const AVX512: u64 = 0b1110_0000;
    let mut wanted = offered & WANTED_COMPONENTS | 0b11;
    if wanted & AVX == 0 || wanted & AVX512 != AVX512 {
        wanted &= !AVX512;
    }
    wanted
}

/// Bytes of one thread's save area.
pub fn area_bytes() -> usize {
    AREA_BYTES.load(Ordering::Relaxed)
}

/// Lets the context use the FPU if the registers hold its state, else makes the first use trap.
pub(crate) fn before_user(state: &mut FpuState) {
    let current = holds(state);
    state.unsaved |= current;
    set_disabled(!current);
}

/// Whether this CPU's registers hold the current state of `state`.
fn holds(state: &FpuState) -> bool {
    let area = percpu::this();
    state.loaded_on == Some(area.cpu())
        && state.area.as_ref().is_some_and(|own| own.number == area.fpu_owner.load(Ordering::Relaxed))
}

/// The running context used the FPU while it was not its own: loads its state, making it first if there is none. `false`
/// if there is no memory for it.
pub(crate) fn first_use(state: &mut FpuState) -> bool {
    if state.area.is_none() {
        state.area = Area::allocate();
    }
    let Some(own) = &state.area else { return false };
    let area = percpu::this();
    set_disabled(false);
    own.load();
    area.fpu_owner.store(own.number, Ordering::Relaxed);
    state.loaded_on = Some(area.cpu());
    true
}

/// Brings the context's area up to date, if this CPU's registers are newer. They stay loaded.
pub(crate) fn save(state: &mut FpuState) {
    if state.unsaved && holds(state) {
        set_disabled(false);
        if let Some(own) = &state.area {
            own.save();
        }
    }
    state.unsaved = false;
}

/// Sets or clears CR0.TS, if it is not so already.
fn set_disabled(disabled: bool) {
    let area = percpu::this();
    if area.fpu_disabled.swap(disabled, Ordering::Relaxed) == disabled {
        return;
    }
    let mut flags = Cr0::read();
    flags.set(Cr0Flags::TASK_SWITCHED, disabled);
    // SAFETY: only TS changes, and the kernel itself never uses the FPU.
    unsafe { Cr0::write(flags) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_a_set_that_the_processor_accepts() {
        assert_eq!(components(0b11), 0b11);
        assert_eq!(components(0b111), 0b111);
        assert_eq!(components(0xe7), 0xe7);
        assert_eq!(components(0xe3), 0b11, "AVX-512 needs AVX");
        assert_eq!(components(0x67), 0b111, "AVX-512 whole or not at all");
        assert_eq!(components(0x6_02e7), 0xe7, "no tiles, no protection keys");
    }
}
