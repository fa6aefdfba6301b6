//! Model tests of the wake list, with the request word that announces it.

use crate::support::{Links, holds_and_finds};
use kernel_core::slab::Slot;
use kernel_core::sync::{QueueOwned, WakeList};
use loom::sync::Arc;
use loom::thread;
use tessera_hal::sync::Fault;
use tessera_hal::{RequestWord, Requests};

struct Cpu {
    list: WakeList,
    links: Links,
    word: RequestWord,
    wakers: [QueueOwned<u32>; 2],
}

impl Cpu {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            list: WakeList::default(),
            links: Links::new(2),
            word: RequestWord::new(),
            wakers: Default::default(),
        })
    }

    /// Hands thread `index` over, as a waker that owns it.
    fn hand_over(&self, index: u32) {
        self.wakers[index as usize].set(index + 1);
        if self.list.push(&self.links, Slot::new(index)) {
            let _ = self.word.post(Requests::DRAIN_WAKES);
        }
    }

    /// Serves the request word once; counts the threads by their index.
    fn serve(&self, seen: &mut [u32; 2]) {
        let taken = self.word.take();
        if taken.requests.contains(Requests::DRAIN_WAKES) {
            self.list.drain(&self.links, |slot| {
                let index = slot.index();
                assert_eq!(self.wakers[index as usize].get(), index + 1);
                seen[index as usize] += 1;
            });
        }
        self.word.acknowledge(taken);
    }
}

fn each_thread_arrives_once_with_what_its_waker_wrote() {
    let cpu = Cpu::new();
    let wakers = [0, 1].map(|index| {
        let cpu = Arc::clone(&cpu);
        thread::spawn(move || cpu.hand_over(index))
    });
    let mut seen = [0; 2];
    cpu.serve(&mut seen);
    wakers.into_iter().for_each(|waker| waker.join().expect("the waker ends"));
    // What came after the last service has posted a request of its own.
    cpu.serve(&mut seen);
    assert_eq!(seen, [1, 1]);
    assert!(cpu.list.is_empty());
}

#[test]
fn a_push_carries_what_the_waker_wrote() {
    holds_and_finds(Fault::WakePushWithoutRelease, each_thread_arrives_once_with_what_its_waker_wrote);
}

#[test]
fn no_push_is_lost() {
    holds_and_finds(Fault::WakeDrainByLoadAndStore, each_thread_arrives_once_with_what_its_waker_wrote);
}
