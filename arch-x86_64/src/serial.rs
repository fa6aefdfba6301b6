//! The first serial port (16550 at 0x3f8): the console.
//!
//! Sending and receiving use different registers, so each has its own lock: an interrupt that reads a byte never
//! waits for the writer that it interrupted. Lock level: innermost, interrupts masked.

use core::hint;
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{BaudRate, Config, Uart16550};
use x86_64::instructions::interrupts::without_interrupts;

const PORT: u16 = 0x3f8;
/// The ISA interrupt of the first serial port.
pub const ISA_INTERRUPT: u8 = 4;
/// How often a writer tries for the lock before it writes anyway: whoever holds it was stopped by a panic.
const PATIENCE: u32 = 10_000_000;
/// Bytes that the device takes at once. Interrupts are let in after so many.
const FIFO_BYTES: usize = 16;
/// How often a full transmitter is polled for one byte: longer than 16 bytes take at 9600 baud.
const TRANSMIT_POLLS: u32 = 10_000_000;

type Uart = Uart16550<PioBackend>;

/// The console.
pub struct Serial {
    sender: Mutex<Uart>,
    receiver: Mutex<Uart>,
}

fn uart() -> Uart {
    // SAFETY: the port is the PC's first serial line. Two values of it exist; one only sends, the other receives and
    // sets the device up.
    match unsafe { Uart::new_port(PORT) } {
        Ok(uart) => uart,
        Err(_) => unreachable!("0x3f8 is a valid port"),
    }
}

impl Serial {
    /// Sets the device up: 115200 baud, FIFO on, no interrupts. Without a device, writes go nowhere.
    pub fn new() -> Self {
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            fifo_trigger_level: Some(FifoTriggerLevel::One),
            interrupts: IER::empty(),
            ..Config::DEFAULT
        };
        let mut sender = uart();
        // An absent device stays absent; there is nobody to tell.
        let _ = sender.init(config);
        Self { sender: Mutex::new(sender), receiver: Mutex::new(uart()) }
    }

    /// Sends all bytes, waiting for the device, with interrupts masked for a few of them at a time. Callers take turns:
    /// bytes of two that write at once would mix.
    pub fn write(&self, bytes: &[u8]) {
        for piece in bytes.chunks(FIFO_BYTES) {
            without_interrupts(|| match self.patient_lock() {
                Some(mut sender) => send(&mut sender, piece),
                None => send(&mut uart(), piece),
            });
        }
    }

    /// The next byte that was received.
    pub fn read(&self) -> Option<u8> {
        without_interrupts(|| self.receiver.lock().try_receive_byte().ok())
    }

    /// Makes the device interrupt for each byte that it receives.
    pub fn enable_receive_interrupt(&self) {
        without_interrupts(|| self.receiver.lock().enable_interrupts(IER::DATA_READY));
    }

    /// Makes the device interrupt once, with nothing received: the empty transmitter is a reason to interrupt for as
    /// long as it is enabled. Answers `false` if the transmitter stays full.
    pub fn pulse_interrupt(&self) -> bool {
        without_interrupts(|| {
            let mut device = self.receiver.lock();
            if !(0..TRANSMIT_POLLS).any(|_| device.ready_to_send().is_ok()) {
                return false;
            }
            device.enable_interrupts(IER::THR_EMPTY);
            device.disable_interrupts(IER::THR_EMPTY);
            true
        })
    }

    fn patient_lock(&self) -> Option<spin::MutexGuard<'_, Uart>> {
        (0..PATIENCE).find_map(|_| {
            hint::spin_loop();
            self.sender.try_lock()
        })
    }
}

impl Default for Serial {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends all bytes; a device that takes none for long is given up.
fn send(uart: &mut Uart, mut bytes: &[u8]) {
    let mut polls = 0;
    while !bytes.is_empty() && polls < TRANSMIT_POLLS {
        match uart.send_bytes(bytes) {
            0 => {
                polls += 1;
                hint::spin_loop();
            }
            sent => {
                bytes = &bytes[sent..];
                polls = 0;
            }
        }
    }
}
