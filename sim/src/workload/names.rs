//! Names of what tasks wait for, resolved to ids.

/// Declares ids of one kind each.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// The index in tables of this kind.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<u32> for $name {
            fn from(index: u32) -> Self {
                Self(index)
            }
        }
    )*};
}
ids! {
    /// A mutex.
    MutexId,
    /// A condition variable.
    ConditionId,
    /// A barrier.
    BarrierId,
    /// What `suspend` waits at.
    SuspensionId,
    /// A semaphore.
    SemaphoreId,
    /// A timer that is shared by all who name it, or, if its name begins with `unique`, one per instance.
    TimerId,
}

/// All names, by kind; an id is the place of its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Mutexes.
    pub mutexes: Vec<String>,
    /// Condition variables.
    pub conditions: Vec<String>,
    /// Barriers.
    pub barriers: Vec<String>,
    /// What `suspend` waits at.
    pub suspensions: Vec<String>,
    /// Semaphores.
    pub semaphores: Vec<String>,
    /// Timers.
    pub timers: Vec<String>,
}

impl Names {
    /// Whether each instance has a timer of this name of its own.
    pub fn is_unique(&self, timer: TimerId) -> bool {
        self.timers[timer.index()].starts_with("unique")
    }
}

/// The id of a name, which is added if it is new.
pub(super) fn intern<I: From<u32>>(names: &mut Vec<String>, name: &str) -> I {
    let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    I::from(index as u32)
}
