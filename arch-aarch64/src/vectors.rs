//! Interrupt numbers: the one table that the interrupt controller and the kernel share.
//!
//! 0 to 15 are sent by software, 16 to 31 are private to each CPU, from 32 on they belong to devices and are shared.

use tessera_hal::IrqLine;

/// The kick: another CPU posted into this one's request word.
pub const KICK: u32 = 0;
/// Another CPU wants this one to stop for good.
pub const HALT: u32 = 1;
/// The first that is private to each CPU and comes from a device.
pub const FIRST_PRIVATE: u32 = 16;
/// The first of a shared device: line 0.
pub const FIRST_LINE: u32 = 32;
/// From here on numbers are special: nothing is due.
pub const FIRST_SPECIAL: u32 = 1020;

/// The number of a device line, if the controller has so many.
pub fn of_line(line: IrqLine, lines: u32) -> Option<u32> {
    (line.0 < lines).then(|| FIRST_LINE + line.0)
}

/// The device line that a number belongs to.
pub fn line_of(number: u32) -> Option<IrqLine> {
    (FIRST_LINE..FIRST_SPECIAL).contains(&number).then(|| IrqLine(number - FIRST_LINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_numbers_map_both_ways_and_meet_no_other_number() {
        for line in [0, 1, 987] {
            let number = of_line(IrqLine(line), 988).unwrap();
            assert_eq!(line_of(number), Some(IrqLine(line)));
        }
        assert_eq!(of_line(IrqLine(988), 988), None);
        assert_eq!((line_of(KICK), line_of(HALT), line_of(FIRST_PRIVATE), line_of(1023)), (None, None, None, None));
    }
}
