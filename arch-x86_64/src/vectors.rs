//! Interrupt vectors: the one table that the IDT and the devices share.

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
