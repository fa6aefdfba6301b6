//! Backtraces along frame records (`x29`), with names from the table in the image.

use crate::percpu;
use crate::symbols;
use core::arch::asm;
use core::fmt::{self, Write};
use core::ops::Range;

/// More frames than this are cut off.
const MAX_FRAMES: usize = 48;

/// The caller's frame pointer.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let pointer;
    // SAFETY: reading a register has no effect.
    unsafe { asm!("mov {}, x29", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Prints the return addresses from the frame at `frame` outward, after `first` if there is one.
pub fn print(out: &mut dyn Write, first: Option<u64>, frame: u64) -> fmt::Result {
    writeln!(out, "backtrace:")?;
    if let Some(address) = first {
        line(out, address, address)?;
    }
    let mut frame = frame as usize;
    for _ in 0..MAX_FRAMES {
        let Some((next, address)) = read_frame(frame) else { break };
        // A return address may be the first of the next function, after a call that never returns.
        line(out, address, address.wrapping_sub(1))?;
        if next <= frame {
            break;
        }
        frame = next;
    }
    Ok(())
}

fn line(out: &mut dyn Write, address: u64, inside: u64) -> fmt::Result {
    match symbols::find(inside) {
        Some(symbol) => writeln!(out, "  {address:016x}  {}+{:#x}", symbol.name, address - symbol.start),
        None => writeln!(out, "  {address:016x}"),
    }
}

/// The saved frame pointer and return address at `frame`, if that is on a kernel stack and leads into the text.
fn read_frame(frame: usize) -> Option<(usize, u64)> {
    let whole = frame..frame.checked_add(16)?;
    if !frame.is_multiple_of(8) || !on_a_stack(&whole) {
        return None;
    }
    // SAFETY: the two words are inside a mapped kernel stack and aligned.
    let words = unsafe { (frame as *const [u64; 2]).read_volatile() };
    crate::image::Image::this().text.contains(&(words[1] as usize)).then_some((words[0] as usize, words[1]))
}

fn on_a_stack(range: &Range<usize>) -> bool {
    let within = |stack: &Range<usize>| stack.start <= range.start && range.end <= stack.end;
    if within(&crate::entry::boot_stack_range()) {
        return true;
    }
    let Some((cpu, which, false)) = percpu::stack_around(range.start) else { return false };
    let (start, end) = percpu::stack(cpu, which);
    // Stacks are mapped whole, for CPUs that exist.
    percpu::of(cpu).is_some() && within(&(start.0..end.0))
}
