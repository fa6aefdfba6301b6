//! Interrupt vectors: the one table that the IDT and the devices share.

use tessera_hal::IrqLine;

/// The first vector that is an interrupt and not an exception.
pub const FIRST_INTERRUPT: u8 = 32;
/// The first vector of the I/O APIC: line `n` (counted over all I/O APICs) is delivered as `DEVICE_BASE + n`.
pub const DEVICE_BASE: u8 = 0x30;
/// How many device vectors there are.
pub const DEVICE_COUNT: u8 = 0x80;
/// The clockevent.
pub const TIMER: u8 = 0xf0;
/// The kick: another CPU posted into this one's request word.
pub const KICK: u8 = 0xf1;
/// The local APIC's own errors.
pub const ERROR: u8 = 0xfe;
/// What the local APIC delivers when an interrupt went away. Never acknowledged.
pub const SPURIOUS: u8 = 0xff;

/// The vector of a device line, if it can have one.
pub fn of_line(line: IrqLine) -> Option<u8> {
    u8::try_from(line.0).ok().filter(|&line| line < DEVICE_COUNT).map(|line| DEVICE_BASE + line)
}

/// The device line that a vector belongs to.
pub fn line_of(vector: u8) -> Option<IrqLine> {
    let offset = vector.checked_sub(DEVICE_BASE)?;
    (offset < DEVICE_COUNT).then_some(IrqLine(u32::from(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_vectors_map_both_ways_and_meet_no_other_vector() {
        for line in 0..u32::from(DEVICE_COUNT) {
            let vector = of_line(IrqLine(line)).unwrap();
            assert_eq!(line_of(vector), Some(IrqLine(line)));
            assert!((FIRST_INTERRUPT..TIMER).contains(&vector));
        }
        assert_eq!(of_line(IrqLine(u32::from(DEVICE_COUNT))), None);
        assert_eq!((line_of(DEVICE_BASE - 1), line_of(KICK), line_of(TIMER)), (None, None, None));
    }
}
