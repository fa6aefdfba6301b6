//! Backtraces along frame pointers, with names from the table in the image.

use crate::percpu;
use crate::symbols;
use core::arch::asm;
use core::fmt::{self, Write};
use core::ops::Range;
use tessera_hal::PAGE_SIZE;
use tessera_hal::port::backtrace::{self, StackFrame, Stacks};
use tessera_hal::port::symbols::Symbol;

/// The caller's frame pointer.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let pointer;
    // SAFETY: reading a register has no effect.
    unsafe { asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Prints the return addresses from the frame at `frame` outward, after `first` if there is one.
pub fn print(out: &mut dyn Write, first: Option<u64>, frame: u64) -> fmt::Result {
    backtrace::print(out, &KernelStacks, first, frame)
}

struct KernelStacks;

impl Stacks for KernelStacks {
    fn frame(&self, at: usize) -> Option<StackFrame> {
        let whole = at..at.checked_add(16)?;
        if !at.is_multiple_of(8) || !on_a_stack(&whole) {
            return None;
        }
        // SAFETY: the two words are inside a mapped kernel stack and aligned.
        let [caller, return_address] = unsafe { (at as *const [u64; 2]).read_volatile() };
        let is_code = crate::image::Image::this().text.contains(&(return_address as usize));
        is_code.then_some(StackFrame { caller: caller as usize, return_address })
    }

    fn symbol(&self, address: u64) -> Option<Symbol<'_>> {
        symbols::find(address)
    }
}

fn on_a_stack(range: &Range<usize>) -> bool {
    let boot = crate::boot::boot_stack_range();
    let within = |stack: &Range<usize>| stack.start <= range.start && range.end <= stack.end;
    if within(&boot) {
        return true;
    }
    let Some((cpu, which, false)) = percpu::stack_around(range.start) else { return false };
    let (start, end) = percpu::stack(cpu, which);
    // Stacks are mapped whole, for CPUs that exist.
    percpu::of(cpu).is_some() && within(&(start.0..end.0)) && start.0.is_multiple_of(PAGE_SIZE)
}
