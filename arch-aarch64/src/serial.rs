//! PL011: bytes out and in, receive interrupts. The firmware or emulator has set the line's speed.

use tessera_hal::PhysicalAddress;

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
const EIGHT_BITS: u32 = 3 << 5;
const ENABLE_BOTH_WAYS: u32 = 1 | 1 << 8 | 1 << 9;
const RECEIVE: u32 = 1 << 4;
const RECEIVE_TIMEOUT: u32 = 1 << 6;

/// The serial port. Its registers have no state that two users could tear; the caller serialises whole lines.
#[derive(Clone, Copy, Debug)]
pub struct Serial {
    registers: usize,
}

impl Serial {
    /// The port whose registers stand at `address`, switched on with interrupts masked.
    ///
    /// # Safety
    /// A PL011 must stand there, mapped in the window of device registers for as long as the kernel runs.
    pub unsafe fn new(address: PhysicalAddress) -> Self {
        let port = Self { registers: crate::paging::device(address) as usize };
        port.write(INTERRUPT_MASK, 0);
        port.write(LINE_CONTROL, EIGHT_BITS);
        port.write(CONTROL, ENABLE_BOTH_WAYS);
        port
    }

    /// Sends the bytes, waiting for the device; a carriage return goes before each line feed.
    pub fn send(&self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.send_byte(b'\r');
            }
            self.send_byte(byte);
        }
    }

    /// The next byte that was received. Clears the receive interrupt once there is none left.
    pub fn receive(&self) -> Option<u8> {
        if self.read(FLAGS) & RECEIVE_EMPTY != 0 {
            self.write(INTERRUPT_CLEAR, RECEIVE | RECEIVE_TIMEOUT);
            return None;
        }
        Some(self.read(DATA) as u8)
    }

    /// Lets received bytes interrupt.
    pub fn enable_receive_interrupt(&self) {
        self.write(INTERRUPT_MASK, RECEIVE | RECEIVE_TIMEOUT);
    }

    fn send_byte(&self, byte: u8) {
        while self.read(FLAGS) & TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        self.write(DATA, byte.into());
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: the registers are mapped (see `new`) and `offset` is one of them.
        unsafe { ((self.registers + offset) as *const u32).read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: the registers are mapped (see `new`) and `offset` is one of them.
        unsafe { ((self.registers + offset) as *mut u32).write_volatile(value) };
    }
}
