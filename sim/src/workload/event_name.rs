//! Which event a key means: the longest known name that it begins with, so `run0` is a `run` and `runtime1` a
//! `runtime`.

/// Declares the events and their names.
macro_rules! event_names {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// What a task can do.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum EventName {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl EventName {
            /// Every event.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}
event_names! {
    Run = "run",
    Runtime = "runtime",
    Sleep = "sleep",
    Timer = "timer",
    Lock = "lock",
    Unlock = "unlock",
    Wait = "wait",
    Signal = "signal",
    Broad = "broad",
    Sync = "sync",
    Barrier = "barrier",
    Suspend = "suspend",
    Resume = "resume",
    SemWait = "sem_wait",
    SemPost = "sem_post",
    Yield = "yield",
    Fork = "fork",
    Mem = "mem",
    MemRun = "memrun",
    IoRun = "iorun",
}

impl EventName {
    /// The event that `key` means.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().filter(|event| key.starts_with(event.name())).max_by_key(|event| event.name().len())
    }

    /// The names of the events that can be simulated.
    pub fn supported() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(|event| !event.is_memory_or_io()).map(|event| event.name())
    }

    /// Whether it works on memory or devices, which the simulator does not have.
    pub const fn is_memory_or_io(self) -> bool {
        matches!(self, Self::Mem | Self::MemRun | Self::IoRun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_that_a_key_begins_with_decides() {
        let expected = [
            ("run", Some(EventName::Run)),
            ("run0", Some(EventName::Run)),
            ("running", Some(EventName::Run)),
            ("runtime1", Some(EventName::Runtime)),
            ("sleep_a", Some(EventName::Sleep)),
            ("memrun2", Some(EventName::MemRun)),
            ("sem_wait_b", Some(EventName::SemWait)),
            ("ru", None),
            ("weight", None),
        ];
        for (key, event) in expected {
            assert_eq!(EventName::of_key(key), event, "{key}");
        }
    }
}
