//! Processes that a proof makes: spawned, started, waited for.

use core::fmt;
use tessera_rt::{
    CallError, Client,
    abi::{start::MAX_GRANT_NAME_BYTES, start::MAX_GRANTS, transfer::TransferEntry},
    client::{ProcessHandle, ProcessSpawner, ThreadHandle},
    generated::messages::{ProcessEnding, ProcessInfo, SpawnParams},
    ring,
};

/// Bytes of the names of all grants.
const NAMES_BYTES: usize = MAX_GRANTS * (MAX_GRANT_NAME_BYTES + 1);
/// Room for how a process ended.
pub const ENDING_BYTES: usize = 512;

/// A capability for a new process, and what it calls it.
pub type Given<'a> = (&'a str, TransferEntry);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It exited with this code.
    Exit(i32),
    /// A fault ended it.
    Fault,
    /// It was killed.
    Killed,
}

impl From<ProcessEnding<'_>> for End {
    fn from(ending: ProcessEnding<'_>) -> Self {
        match ending.kind {
            0 => Self::Exit(ending.code.cast_signed()),
            1 => Self::Fault,
            _ => Self::Killed,
        }
    }
}

/// The names of grants, separated by spaces.
struct Names {
    bytes: [u8; NAMES_BYTES],
    length: usize,
}

impl fmt::Write for Names {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its handle.
    pub process: ProcessHandle,
    /// Its number.
    pub id: u64,
}

impl Child {
    /// Makes a process that does not run yet. The grants' names in `params` are ignored; those of `given` count.
    pub fn spawn(spawner: ProcessSpawner, params: &SpawnParams<'_>, given: &[Given<'_>]) -> Result<Self, CallError> {
        use fmt::Write;
        let mut names = Names { bytes: [0; NAMES_BYTES], length: 0 };
        let mut entries = [TransferEntry::default(); MAX_GRANTS];
        for ((name, entry), place) in given.iter().zip(&mut entries) {
            // Names that are too long for the buffer are too long for the kernel, which says so.
            let _ = write!(names, "{name} ");
            *place = *entry;
        }
        let grant_names = names.bytes.get(..names.length).and_then(|bytes| core::str::from_utf8(bytes).ok());
        let params = SpawnParams { grant_names: grant_names.unwrap_or(""), ..*params };
        let (spawned, [process]) = spawner.spawn(&params, entries.get(..given.len()).unwrap_or(&entries))?;
        Ok(Self { process: ProcessHandle::from_handle(process), id: spawned.process_id })
    }

    /// [`Child::spawn`] and start.
    pub fn start(spawner: ProcessSpawner, params: &SpawnParams<'_>, given: &[Given<'_>]) -> Result<Self, CallError> {
        let child = Self::spawn(spawner, params, given)?;
        child.process.start()?;
        Ok(child)
    }

    /// Waits until it is over, without giving its handle up.
    pub fn wait(&self) -> Result<End, CallError> {
        self.process.wait(&mut [0; ENDING_BYTES]).map(End::from)
    }

    /// Waits until it is over, and gives its handle up.
    pub fn ended(self) -> Result<End, CallError> {
        let end = self.wait()?;
        self.release()?;
        Ok(end)
    }

    /// Kills it, waits until it is over, and gives its handle up.
    pub fn killed(self) -> Result<End, CallError> {
        self.process.kill()?;
        self.ended()
    }

    /// What the kernel says of it.
    pub fn info(&self) -> Result<ProcessInfo, CallError> {
        self.process.info()
    }

    /// A handle of its first thread.
    pub fn main_thread(&self) -> Result<ThreadHandle, CallError> {
        let [thread] = self.process.main_thread()?;
        Ok(ThreadHandle::from_handle(thread))
    }

    /// Gives its handle up.
    pub fn release(self) -> Result<(), CallError> {
        ring::current().release(self.process.handle())
    }
}
