//! Names of what tasks wait for, resolved to ids.

use indexmap::IndexSet;

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
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Mutexes.
    pub mutexes: IndexSet<String>,
    /// Condition variables.
    pub conditions: IndexSet<String>,
    /// Barriers.
    pub barriers: IndexSet<String>,
    /// What `suspend` waits at.
    pub suspensions: IndexSet<String>,
    /// Semaphores.
    pub semaphores: IndexSet<String>,
    /// Timers.
    pub timers: IndexSet<String>,
}

impl Names {
    /// Whether each instance has a timer of this name of its own.
    pub fn is_unique(&self, timer: TimerId) -> bool {
        self.timers[timer.index()].starts_with("unique")
    }
}

/// The id of a name, which is added if it is new.
pub(super) fn intern<I: From<u32>>(names: &mut IndexSet<String>, name: &str) -> I {
    let index = names.get_index_of(name).unwrap_or_else(|| names.insert_full(name.to_owned()).0);
    I::from(index as u32)
}
