//! The numbered promises of [`SchedHal`](crate::SchedHal). The long form, with reasons, is `docs/src/hal-contract.md`.

use core::fmt;

macro_rules! musts {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $sentence:literal;)*) => {
        /// One promise of the contract.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Must {
            $(#[doc = $sentence] $name = $number,)*
        }

        impl Must {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is promised, in a few words.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

musts! {
    ClockIsMonotonic = 1, "time never goes backward on one CPU";
    ClockAgrees = 2, "time never goes backward from one CPU to another";
    ClockAdvances = 3, "time passes";
    CpuIsStable = 4, "a CPU always names itself by the number it was started with";
    CpusAreDistinct = 5, "no two CPUs name themselves by one number";
    TopologyNests = 6, "CPUs that share a core share its cluster and node, and the answer is fixed";
    MaskNests = 7, "masking answers the earlier state, and restoring goes back to just that";
    MaskHoldsBack = 8, "no interrupt arrives while masked";
    MaskDelivers = 9, "what was held back arrives after restoring";
    ClockeventIsSane = 10, "the clockevent describes a usable one-shot";
    TimerFires = 11, "an armed deadline fires, on the CPU that armed it only";
    TimerFiresOnce = 12, "an armed deadline fires once";
    TimerIsNotEarly = 13, "a fire does not come before its deadline";
    PastFiresAtOnce = 14, "a deadline in the past fires";
    RearmReplaces = 15, "arming again replaces what was armed";
    DisarmStops = 16, "a disarmed deadline does not fire";
    BeyondMaxIsHeld = 17, "a deadline beyond the longest distance is accepted and does not fire at once";
    RequestWordsAreFixed = 18, "every CPU has one request word of its own";
    SelfKickArrives = 19, "a CPU can kick itself";
    KickArrives = 20, "a kick arrives at the CPU it was sent to, and at no other";
    KicksCoalesce = 21, "kicks that meet a masked CPU merge and none is lost";
    KickIsAcknowledged = 22, "a kick counts as served only after it was served";
    KickOrdersStores = 23, "what was stored before a kick is seen when the kick arrives";
    IdleWakesByTimer = 24, "idle lets the timer in, also when it fired while masked";
    IdleWakesByKick = 25, "idle lets a kick in, also when it came while masked";
    IdleReturnsMasked = 26, "idle returns with interrupts masked";
    RouteReadsBack = 27, "a route reads back as it was written";
    RouteMasks = 28, "a masked line is delivered nowhere";
    RouteDelivers = 29, "a line is delivered to the CPU of its route, and to no other";
    RouteRefusesLine = 30, "a line that no controller has is refused";
    RouteRefusesCpu = 31, "a CPU that does not exist is refused, and the old route stays";
}

impl Must {
    /// Its number in the contract.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{} {}", self.number(), self.sentence())
    }
}
