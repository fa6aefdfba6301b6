//! What only the tree itself can see or break; the rest is in `tests/tree.rs`.

use super::*;
use alloc::vec::Vec;

/// Nodes that are all equal and of which nothing is kept.
struct Unordered(Vec<Links>);

impl Nodes for Unordered {
    type Node = Links;
    type Key = ();
    type Summary = ();
    fn node(&self, slot: Slot) -> &Links {
        &self.0[slot.index() as usize]
    }
    fn links(links: &Links) -> &Links {
        links
    }
    fn key(_: &Links) {}
    fn summary(&self, _: &Links) {}
}

fn filled(count: u32) -> (Unordered, Tree) {
    let nodes = Unordered((0..count).map(|_| Links::default()).collect());
    let mut tree = Tree::new();
    (0..count).for_each(|index| tree.insert(&nodes, Slot::new(index)));
    assert_eq!(tree.check(&nodes), Ok(()));
    (nodes, tree)
}

#[test]
fn equal_keys_stay_in_order_of_insertion() {
    let (nodes, tree) = filled(100);
    assert!(tree.iter(&nodes).map(Slot::index).eq(0..100));
}

#[test]
fn the_check_finds_a_first_or_last_node_that_is_another_one() {
    let (nodes, mut tree) = filled(3);
    let first = tree.first.replace(Slot::new(1));
    assert_eq!(tree.check(&nodes), Err(TreeViolation::First));
    tree.first = first;
    tree.last = Some(Slot::new(1));
    assert_eq!(tree.check(&nodes), Err(TreeViolation::Last));
}

#[test]
fn a_tree_that_was_filled_in_order_is_not_deep() {
    let (nodes, tree) = filled(4096);
    let depth = |slot| {
        let at: At<'_, Unordered> = At::new(&nodes, slot);
        core::iter::successors(Some(at), |at| at.parent(&nodes)).count()
    };
    let deepest = tree.iter(&nodes).map(depth).max();
    assert!(deepest <= Some(40), "{deepest:?}; about 2 ln n = 17 are expected of one, 4.3 ln n = 36 of the deepest");
}

/// Nodes with keys of which nothing is kept.
struct Keyed(Vec<(Links, u32)>);

impl Nodes for Keyed {
    type Node = (Links, u32);
    type Key = u32;
    type Summary = ();
    fn node(&self, slot: Slot) -> &(Links, u32) {
        &self.0[slot.index() as usize]
    }
    fn links(node: &(Links, u32)) -> &Links {
        &node.0
    }
    fn key(node: &(Links, u32)) -> u32 {
        node.1
    }
    fn summary(&self, _: &(Links, u32)) {}
}

#[test]
fn whoever_comes_stands_behind_its_equals_and_before_all_others_wherever_that_is() {
    // Each key many times, in an order that is none.
    let nodes = Keyed((0..500).map(|index| (Links::default(), index * 7 % 13)).collect());
    let mut tree = Tree::new();
    let mut expected: Vec<(u32, u32)> = Vec::new();
    for index in 0..500 {
        tree.insert(&nodes, Slot::new(index));
        let key = nodes.0[index as usize].1;
        expected.insert(expected.partition_point(|&(before, _)| before <= key), (key, index));
        assert_eq!(tree.check(&nodes), Ok(()), "after {index}");
        assert!(tree.iter(&nodes).map(Slot::index).eq(expected.iter().map(|&(_, index)| index)), "after {index}");
    }
}
