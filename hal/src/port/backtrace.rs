//! Backtraces along frame pointers. What a frame looks like and which stacks there are is the port's.

use super::symbols::Symbol;
use core::fmt::{self, Write};

/// More frames than this are cut off.
const MAX_FRAMES: usize = 48;

/// A frame of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackFrame {
    /// Where the caller's frame stands; stacks grow downward.
    pub caller: usize,
    /// Where the function returns to.
    pub return_address: u64,
}

/// What a port knows of its stacks and its image.
pub trait Stacks {
    /// The frame at an address; `None` if that is not on a kernel stack or does not lead into the kernel's code.
    fn frame(&self, at: usize) -> Option<StackFrame>;
    /// The function that contains an address.
    fn symbol(&self, address: u64) -> Option<Symbol<'_>>;
}

/// Prints the return addresses from the frame at `innermost` outward, after `first` if there is one.
pub fn print(out: &mut dyn Write, stacks: &impl Stacks, first: Option<u64>, innermost: u64) -> fmt::Result {
    writeln!(out, "backtrace:")?;
    if let Some(address) = first {
        line(out, stacks, address, address)?;
    }
    let mut at = innermost as usize;
    for _ in 0..MAX_FRAMES {
        let Some(StackFrame { caller, return_address }) = stacks.frame(at) else { break };
        // A return address may be the first of the next function, after a call that never returns.
        line(out, stacks, return_address, return_address.wrapping_sub(1))?;
        if caller <= at {
            break;
        }
        at = caller;
    }
    Ok(())
}

fn line(out: &mut dyn Write, stacks: &impl Stacks, address: u64, inside: u64) -> fmt::Result {
    match stacks.symbol(inside) {
        Some(symbol) => writeln!(out, "  {address:016x}  {}+{:#x}", symbol.name, address.wrapping_sub(symbol.start)),
        None => writeln!(out, "  {address:016x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec::Vec};

    /// Frames one after another from address 100 on, ten apart.
    struct Chain(Vec<StackFrame>);

    impl Stacks for Chain {
        fn frame(&self, at: usize) -> Option<StackFrame> {
            self.0.get(at.checked_sub(100)? / 10).copied()
        }
        fn symbol(&self, address: u64) -> Option<Symbol<'_>> {
            (address >= 0x1000).then_some(Symbol { start: 0x1000, name: "work" })
        }
    }

    fn printed(frames: &[(usize, u64)], first: Option<u64>) -> String {
        let frames = frames.iter().map(|&(caller, return_address)| StackFrame { caller, return_address });
        let mut text = String::new();
        print(&mut text, &Chain(frames.collect()), first, 100).expect("a string takes everything");
        text
    }

    #[test]
    fn callers_follow_the_first_address_with_names_where_there_are_any() {
        let text = printed(&[(110, 0x1010), (120, 0x1000)], Some(0x1002));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..], ["  0000000000001002  work+0x2", "  0000000000001010  work+0x10", "  0000000000001000"]);
    }

    #[test]
    fn a_chain_that_goes_back_or_on_for_ever_is_cut() {
        assert_eq!(printed(&[(110, 0x1010), (100, 0x1020)], None).lines().count(), 3);
        let endless: Vec<(usize, u64)> = (0..1000).map(|number| (110 + number * 10, 0x1010)).collect();
        assert_eq!(printed(&endless, None).lines().count(), 1 + MAX_FRAMES);
        assert_eq!(printed(&[], None).lines().count(), 1);
    }
}
