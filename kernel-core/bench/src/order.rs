//! The least that orders threads by weighted run time: an ordered structure, and arrays beside it. One such structure is
//! a plain `BTreeMap<(virtual time, id)>`, the other one is the tree that `kernel-core`'s run queues are made of, without
//! what they keep beside it.

use crate::{Chosen, Plan, Ready};
use kernel_core::slab::{Slab, Slot};
use kernel_core::sync::QueueOwned;
use kernel_core::tree::{Block, Links, Nodes, Tree};
use std::collections::BTreeMap;

/// What keeps ready threads in order.
pub trait Order {
    /// With room for so many threads.
    fn new(threads: usize) -> Self;
    /// Thread `id` becomes ready.
    fn insert(&mut self, virtual_time: u64, id: usize);
    /// The least virtual time of those who are ready.
    fn least(&self) -> Option<u64>;
    /// The first of those who are ready leaves.
    fn pop_first(&mut self) -> Option<usize>;
    /// A thread leaves, if it is ready.
    fn remove(&mut self, virtual_time: u64, id: usize) -> bool;
}

/// The plain map.
pub type Map = BTreeMap<(u64, usize), ()>;

impl Order for Map {
    fn new(_: usize) -> Self {
        Self::new()
    }
    fn insert(&mut self, virtual_time: u64, id: usize) {
        self.insert((virtual_time, id), ());
    }
    fn least(&self) -> Option<u64> {
        self.first_key_value().map(|(&(least, _), ())| least)
    }
    fn pop_first(&mut self) -> Option<usize> {
        self.pop_first().map(|((_, id), ())| id)
    }
    fn remove(&mut self, virtual_time: u64, id: usize) -> bool {
        self.remove(&(virtual_time, id)).is_some()
    }
}

/// The tree alone.
pub struct TreeAlone {
    tree: Tree,
    nodes: Threads,
    /// By id.
    slots: Vec<Slot>,
}

struct Threads(Slab<Thread>);

#[derive(Default)]
struct Thread {
    links: Links,
    block: Block<u64>,
    virtual_time: QueueOwned<u64>,
}

impl Nodes for Threads {
    type Node = Thread;
    type Key = u64;
    type Summary = ();
    fn node(&self, slot: Slot) -> &Thread {
        &self.0[slot]
    }
    fn links(thread: &Thread) -> &Links {
        &thread.links
    }
    fn block(thread: &Thread) -> &Block<u64> {
        &thread.block
    }
    fn key(thread: &Thread) -> u64 {
        thread.virtual_time.get()
    }
    fn summary(&self, _: &Thread) {}
}

impl Order for TreeAlone {
    fn new(threads: usize) -> Self {
        let slab = Slab::new(threads as u32);
        let slots = (0..threads).map(|_| slab.insert(|_, _| ()).expect("memory").slot()).collect();
        Self { tree: Tree::new(), nodes: Threads(slab), slots }
    }
    fn insert(&mut self, virtual_time: u64, id: usize) {
        let slot = self.slots[id];
        let thread = self.nodes.node(slot);
        thread.virtual_time.set(virtual_time);
        self.tree.insert_node(&self.nodes, slot, thread);
    }
    fn least(&self) -> Option<u64> {
        self.tree.first().map(|first| self.nodes.node(first).virtual_time.get())
    }
    fn pop_first(&mut self) -> Option<usize> {
        let first = self.tree.first()?;
        self.tree.remove(&self.nodes, first);
        Some(first.index() as usize)
    }
    fn remove(&mut self, _: u64, id: usize) -> bool {
        let slot = self.slots[id];
        let thread = self.nodes.node(slot);
        if !thread.links.is_linked() {
            return false;
        }
        self.tree.remove_node(&self.nodes, slot, thread);
        true
    }
}

/// Threads in such an order.
pub struct Queue<O> {
    ready: O,
    virtual_times: Vec<u64>,
    weights: Vec<u64>,
    current: Option<usize>,
    blocked: Vec<usize>,
    chosen: Chosen<usize>,
}

const SLICE_NS: u64 = 2_000_000;

impl<O: Order> Queue<O> {
    /// A queue as the plan says.
    pub fn new(plan: &Plan) -> Self {
        let count = plan.weights.len();
        let mut ready = O::new(count);
        (0..count).for_each(|id| ready.insert(0, id));
        let mut this = Self {
            ready,
            virtual_times: vec![0; count],
            weights: plan.weights.iter().copied().map(u64::from).collect(),
            current: None,
            blocked: Vec::with_capacity(count),
            chosen: Chosen::new([].into_iter()),
        };
        this.pick();
        (0..plan.warm_up).for_each(|_| this.requeue());
        (0..plan.blocked).for_each(|_| this.block());
        let is_ready = |id: &usize| Some(*id) != this.current && !this.blocked.contains(id);
        let chosen = plan.chosen.iter().map(|&id| (id, plan.weights[id]));
        this.chosen = Chosen::new(chosen.filter(|(id, _)| is_ready(id)));
        this
    }

    fn pick(&mut self) {
        self.current = self.ready.pop_first();
    }

    fn charge(&mut self) -> Option<usize> {
        let id = self.current.take()?;
        self.virtual_times[id] += SLICE_NS * 64 / self.weights[id];
        Some(id)
    }
}

impl<O: Order> Ready for Queue<O> {
    fn requeue(&mut self) {
        if let Some(id) = self.charge() {
            self.ready.insert(self.virtual_times[id], id);
        }
        self.pick();
    }

    fn block(&mut self) {
        let id = self.charge();
        self.blocked.extend(id);
        self.pick();
    }

    fn wake(&mut self) {
        if let Some(id) = self.blocked.pop() {
            let least = self.ready.least().unwrap_or(0);
            self.virtual_times[id] = self.virtual_times[id].max(least);
            self.ready.insert(self.virtual_times[id], id);
        }
    }

    fn remove_any(&mut self) {
        let id = self.chosen.next().0;
        self.ready.remove(self.virtual_times[id], id);
    }

    fn bring_back(&mut self) {
        let (id, _) = self.chosen.back();
        self.ready.insert(self.virtual_times[id], id);
    }

    fn change_weight(&mut self) {
        let (&id, weight) = self.chosen.with_another_weight();
        if self.ready.remove(self.virtual_times[id], id) {
            self.weights[id] = u64::from(weight);
            self.ready.insert(self.virtual_times[id], id);
        }
    }

    fn choose_others(&mut self) {
        self.chosen.shuffle();
    }
}
