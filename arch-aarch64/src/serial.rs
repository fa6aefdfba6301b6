//! The serial port (PL011): the console.
//!
//! Sending and receiving use different registers, so each has its own lock: an interrupt that reads a byte never waits for
//! the writer that it interrupted. Lock level: innermost, interrupts masked.

use crate::interrupts::without_interrupts;
use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart};
use core::hint;
use core::ptr::NonNull;
use safe_mmio::UniqueMmioPointer;
use spin::Mutex;

/// How often a writer tries for the lock before it writes anyway: whoever holds it was stopped by a panic.
const PATIENCE: u32 = 10_000_000;
/// Bytes that the device takes at once. Interrupts are let in after so many.
const FIFO_BYTES: usize = 16;
/// How often a full transmitter is polled for one byte: longer than a full FIFO takes at 9600 baud.
const TRANSMIT_POLLS: u32 = 10_000_000;
const BAUD: u32 = 115_200;
/// What feeds the port on boards that do not say.
const CLOCK: u32 = 24_000_000;
const RECEIVED: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

/// The console.
pub struct Serial {
    registers: NonNull<PL011Registers>,
    sender: Mutex<Uart<'static>>,
    receiver: Mutex<Uart<'static>>,
}

// SAFETY: the pointer is only used to make a writer where the lock's holder was stopped for good.
unsafe impl Send for Serial {}
// SAFETY: as above.
unsafe impl Sync for Serial {}

fn uart(registers: NonNull<PL011Registers>) -> Uart<'static> {
    // SAFETY: the registers are mapped for good. Two values of them exist; one only sends, the other receives and sets
    // the device up.
    Uart::new(unsafe { UniqueMmioPointer::new(registers) })
}

impl Serial {
    /// Sets the device up: 115200 baud, FIFO on, no interrupts.
    ///
    /// # Safety
    /// `registers` must be a PL011's, mapped for as long as the kernel runs, and used by nobody else but the panic path.
    pub unsafe fn new(registers: NonNull<PL011Registers>) -> Self {
        let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
        let mut receiver = uart(registers);
        receiver.set_interrupt_masks(Interrupts::empty());
        // The rate is one that this clock can make.
        let _ = receiver.enable(line, BAUD, CLOCK);
        Self { registers, sender: Mutex::new(uart(registers)), receiver: Mutex::new(receiver) }
    }

    /// Sends all bytes, waiting for the device, with interrupts masked for a few of them at a time. A carriage return goes
    /// before each line feed. Callers take turns: bytes of two that write at once would mix.
    pub fn write(&self, bytes: &[u8]) {
        for piece in bytes.chunks(FIFO_BYTES) {
            without_interrupts(|| match self.patient_lock() {
                Some(mut sender) => send(&mut sender, piece),
                None => send(&mut uart(self.registers), piece),
            });
        }
    }

    /// The next byte that was received. Bytes that arrived damaged are left out.
    pub fn read(&self) -> Option<u8> {
        without_interrupts(|| {
            let mut receiver = self.receiver.lock();
            // Before the look: a byte that arrives after it interrupts again.
            receiver.clear_interrupts(RECEIVED);
            loop {
                if let Ok(byte) = receiver.read_word() {
                    return byte;
                }
            }
        })
    }

    /// Makes the device interrupt for what it receives.
    pub fn enable_receive_interrupt(&self) {
        without_interrupts(|| self.receiver.lock().set_interrupt_masks(RECEIVED));
    }

    fn patient_lock(&self) -> Option<spin::MutexGuard<'_, Uart<'static>>> {
        (0..PATIENCE).find_map(|_| {
            hint::spin_loop();
            self.sender.try_lock()
        })
    }
}

/// Sends all bytes; a device that takes none for long is given up.
fn send(uart: &mut Uart<'_>, bytes: &[u8]) {
    for &byte in bytes {
        if byte == b'\n' {
            send_byte(uart, b'\r');
        }
        send_byte(uart, byte);
    }
}

fn send_byte(uart: &mut Uart<'_>, byte: u8) {
    if (0..TRANSMIT_POLLS).any(|_| !uart.is_tx_fifo_full()) {
        uart.write_word(byte);
    }
}
