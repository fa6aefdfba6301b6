//! The `global` object: how long, and on what machine.

use super::attributes::{FairPolicy, policy};
use super::error::{Notice, Problem, WorkloadError};
use super::field::{Field, Once};
use super::{CpuSet, MAX_CPUS};
use crate::json::Kind;
use tessera_hal::{CpuId, CpuTopology, Duration};

/// How the CPUs of a machine stand together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topology {
    /// Threads of a core.
    pub smt: usize,
    /// Cores of a cluster, which share a cache.
    pub cores: usize,
    /// Clusters of a node.
    pub clusters: usize,
    /// Nodes.
    pub nodes: usize,
}

/// Interrupts that take time from whatever runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noise {
    /// How long each takes.
    pub length: Duration,
    /// In each period there is one on every CPU, at a random time.
    pub period: Duration,
    /// What the random times come from; `None`: the seed of the run.
    pub seed: Option<u64>,
}

/// A simulated machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// How many CPUs it has.
    pub cpus: usize,
    /// How they stand together; `None`: each is a core of its own, in one cluster.
    pub topology: Option<Topology>,
    /// From the sending of a kick to its arrival.
    pub kick_latency: Duration,
    /// What a change of the running thread costs.
    pub switch_cost: Duration,
    /// What interrupts take.
    pub noise: Option<Noise>,
}

impl Topology {
    /// One cluster of cores with one thread each.
    pub const fn flat(cpus: usize) -> Self {
        Self { smt: 1, cores: cpus, clusters: 1, nodes: 1 }
    }

    /// How many CPUs that makes; `None`: too many to count.
    pub fn product(&self) -> Option<usize> {
        self.smt.checked_mul(self.cores)?.checked_mul(self.clusters)?.checked_mul(self.nodes)
    }

    /// Where a CPU stands; CPUs are numbered with threads of a core first, then cores, clusters, nodes.
    pub fn place(&self, cpu: CpuId) -> CpuTopology {
        let core = cpu.index() / self.smt.max(1);
        let cluster = core / self.cores.max(1);
        let node = cluster / self.clusters.max(1);
        CpuTopology { core: core as u16, cluster: cluster as u16, node: node as u16 }
    }
}

/// How many CPUs there are, as far as it is known while tasks are read.
pub(super) struct CpuLimit {
    /// What somebody asked for.
    pub given: Option<usize>,
    /// The highest CPU that is named, plus one.
    pub named: usize,
}

impl CpuLimit {
    /// The machine's size: what was asked for, or as many as are named, and one at least.
    pub(super) fn cpus(&self) -> usize {
        self.given.unwrap_or(self.named).max(1)
    }

    /// The CPUs that a field lists.
    pub(super) fn set(&mut self, field: &Field<'_>) -> Result<CpuSet, WorkloadError> {
        const EXPECTED: &str = "CPU numbers";
        let mut set = CpuSet::EMPTY;
        for value in field.array(EXPECTED)? {
            let limit = self.given.unwrap_or(MAX_CPUS);
            let cpu = match value.kind {
                Kind::Integer(number) if (0..MAX_CPUS as i128).contains(&number) => number as usize,
                Kind::Integer(number) => {
                    let expected = format!("CPU numbers from 0 to {}", limit - 1);
                    return Err(field.wrong_at(value.position, Problem::Range { expected, found: number.to_string() }));
                }
                _ => {
                    let expected = "a CPU number".to_owned();
                    let problem = Problem::Type { expected, found: value.kind.name().to_owned() };
                    return Err(field.wrong_at(value.position, problem));
                }
            };
            if cpu >= limit {
                return Err(field.wrong_at(value.position, Problem::NoSuchCpu { cpu, cpus: limit }));
            }
            self.named = self.named.max(cpu + 1);
            set.insert(CpuId::new(cpu as u16));
        }
        if set.is_empty() {
            let expected = "at least one CPU number".to_owned();
            return Err(field.wrong(Problem::Range { expected, found: "an empty list".to_owned() }));
        }
        Ok(set)
    }
}

/// What `global` says.
#[derive(Default)]
pub(super) struct Global<'a> {
    pub duration: Option<Duration>,
    pub policy: FairPolicy,
    pub cpus: Option<usize>,
    pub topology: Option<Topology>,
    pub kick_latency: Duration,
    pub switch_cost: Duration,
    pub noise: Option<Noise>,
    once: Once<'a>,
}

impl<'a> Global<'a> {
    /// Takes a `global` object.
    pub(super) fn take(&mut self, field: &Field<'a>, notices: &mut Vec<Notice>) -> Result<(), WorkloadError> {
        for member in field.object()? {
            let inner = field.inner(member);
            if !["duration", "default_policy", "tessera"].contains(&inner.key()) {
                notices.push(Notice { is_tolerated: true, ..inner.notice("has no effect") });
                continue;
            }
            self.once.take(&inner)?;
            match inner.key() {
                "duration" => self.duration = seconds(&inner)?,
                "default_policy" => self.policy = policy(&inner)?,
                _ => self.take_extension(&inner)?,
            }
        }
        Ok(())
    }

    fn take_extension(&mut self, field: &Field<'_>) -> Result<(), WorkloadError> {
        let (mut length, mut period, mut seed) = (None, None, None);
        let mut once = Once::default();
        for member in field.object()? {
            let inner = field.inner(member);
            once.take(&inner)?;
            match inner.key() {
                "cpus" => self.cpus = Some(inner.integer(1..=MAX_CPUS as i128)? as usize),
                "topology" => self.topology = Some(topology(&inner)?),
                "kick_latency_ns" => self.kick_latency = inner.nanoseconds()?,
                "switch_cost_ns" => self.switch_cost = inner.nanoseconds()?,
                "noise_ns" => length = Some((inner, inner.nanoseconds()?)),
                "noise_period_us" => period = Some((inner, inner.microseconds(1)?)),
                "noise_seed" => seed = Some(inner.integer(0..=i128::from(u64::MAX))? as u64),
                _ => {
                    return Err(inner.unknown(
                        "cpus, topology, kick_latency_ns, switch_cost_ns, noise_ns, noise_period_us or noise_seed",
                    ));
                }
            }
        }
        self.noise = match (length, period) {
            (None, None) => None,
            (Some((field, _)), None) => {
                let expected = "microseconds, an integer from 1 to 1000000000000";
                return Err(field.wrong_key(Problem::Missing { key: "noise_period_us", expected }));
            }
            (None, Some((field, _))) => {
                let expected = "nanoseconds, an integer from 0 to 1000000000";
                return Err(field.wrong_key(Problem::Missing { key: "noise_ns", expected }));
            }
            (Some((field, length)), Some((_, period))) if length >= period => {
                let (expected, found) = (format!("less than noise_period_us, {period}"), length.to_string());
                return Err(field.wrong(Problem::Range { expected, found }));
            }
            (Some((_, length)), Some(_)) if length.is_zero() => None,
            (Some((_, length)), Some((_, period))) => Some(Noise { length, period, seed }),
        };
        Ok(())
    }
}

/// A duration in seconds; -1 is none.
fn seconds(field: &Field<'_>) -> Result<Option<Duration>, WorkloadError> {
    let expected = || "seconds from 0.000001 to 1000000, or -1".to_owned();
    let seconds = match field.value().map(|value| &value.kind) {
        Some(Kind::Integer(-1)) => return Ok(None),
        Some(Kind::Integer(number)) => *number as f64,
        Some(Kind::Float(number)) => *number,
        _ => return Err(field.wrong_type(expected())),
    };
    match (seconds * 1e9).round() {
        nanoseconds if (1e3..=1e15).contains(&nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds as u64))),
        _ => Err(field.wrong(Problem::Range { expected: expected(), found: seconds.to_string() })),
    }
}

fn topology(field: &Field<'_>) -> Result<Topology, WorkloadError> {
    let mut topology = Topology { smt: 1, cores: 1, clusters: 1, nodes: 1 };
    let mut once = Once::default();
    for member in field.object()? {
        let inner = field.inner(member);
        once.take(&inner)?;
        let place = match inner.key() {
            "smt" => &mut topology.smt,
            "cores" => &mut topology.cores,
            "clusters" => &mut topology.clusters,
            "nodes" => &mut topology.nodes,
            _ => return Err(inner.unknown("smt, cores, clusters or nodes")),
        };
        *place = inner.integer(1..=MAX_CPUS as i128)? as usize;
    }
    match topology.product() {
        Some(1..=MAX_CPUS) => Ok(topology),
        product => Err(field.wrong(Problem::Cpus(product.unwrap_or(usize::MAX)))),
    }
}
