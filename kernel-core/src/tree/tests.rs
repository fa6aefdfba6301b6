//! What only the tree itself can see or break; the rest is in `tests/tree.rs`.

use super::*;
use alloc::vec::Vec;

/// Nodes with keys of which nothing is kept.
struct Keyed(Vec<(Links, Block<u32, ()>, u32)>);

impl Keyed {
    fn new(keys: impl Iterator<Item = u32>) -> Self {
        Self(keys.map(|key| (Links::default(), Block::default(), key)).collect())
    }
}

impl Nodes for Keyed {
    type Node = (Links, Block<u32, ()>, u32);
    type Key = u32;
    type Summary = ();
    fn node(&self, slot: Slot) -> &Self::Node {
        &self.0[slot.index() as usize]
    }
    fn links(node: &Self::Node) -> &Links {
        &node.0
    }
    fn block(node: &Self::Node) -> &Block<u32, ()> {
        &node.1
    }
    fn key(node: &Self::Node) -> u32 {
        node.2
    }
    fn summary(&self, _: &Self::Node) {}
}

fn filled(keys: impl Iterator<Item = u32>) -> (Keyed, Tree) {
    let nodes = Keyed::new(keys);
    let mut tree = Tree::new();
    (0..nodes.0.len() as u32).for_each(|index| tree.insert(&nodes, Slot::new(index)));
    assert_eq!(tree.check(&nodes), Ok(()));
    (nodes, tree)
}

fn depth(nodes: &Keyed, tree: &Tree) -> usize {
    let first: Option<At<'_, Keyed>> = At::maybe(nodes, tree.first_leaf);
    core::iter::successors(first, |at| Some(at.above(nodes)?.0)).count()
}

#[test]
fn equal_keys_stay_in_order_of_insertion() {
    let (nodes, tree) = filled((0..100).map(|_| 7));
    assert!(tree.iter(&nodes).map(Slot::index).eq(0..100));
}

#[test]
fn whoever_comes_stands_behind_its_equals_and_before_all_others_wherever_that_is() {
    // Each key many times, in an order that is none.
    let nodes = Keyed::new((0..500).map(|index| index * 7 % 13));
    let mut tree = Tree::new();
    let mut expected: Vec<(u32, u32)> = Vec::new();
    for index in 0..500 {
        tree.insert(&nodes, Slot::new(index));
        let key = nodes.0[index as usize].2;
        expected.insert(expected.partition_point(|&(before, _)| before <= key), (key, index));
        assert_eq!(tree.check(&nodes), Ok(()), "after {index}");
        assert!(tree.iter(&nodes).map(Slot::index).eq(expected.iter().map(|&(_, index)| index)), "after {index}");
    }
}

#[test]
fn the_check_finds_ends_that_are_others_and_blocks_that_are_lost() {
    let (nodes, mut tree) = filled(0..40);
    let broken = |tree: &mut Tree, what: fn(&mut Tree) -> &mut Option<Slot>, expected| {
        let kept = what(tree).replace(Slot::new(39));
        assert_eq!(tree.check(&nodes), Err(expected));
        *what(tree) = kept;
        assert_eq!(tree.check(&nodes), Ok(()));
    };
    broken(&mut tree, |tree| &mut tree.first, TreeViolation::First);
    broken(&mut tree, |tree| &mut tree.last_leaf, TreeViolation::Ends);
    (tree.spare, tree.unused) = (None, None);
    assert_eq!(tree.check(&nodes), Err(TreeViolation::Blocks));
}

/// Whichever order they come in, and whichever few of them stay.
#[test]
fn no_order_makes_the_tree_deep() {
    // At least one more block than leads to the first node is below the root, and has `FEW` entries, as all below it.
    let deepest = |len: usize| 2 + (len.max(FEW) as f64).log(FEW as f64) as usize;
    let scattered = |index: u32| index.wrapping_mul(2_654_435_769) >> 20;
    for order in [|index| index, |index| 4096 - index, scattered, |index: u32| index % 2 * 5000 + index] {
        let (nodes, mut tree) = filled((0..4096).map(order));
        assert!(depth(&nodes, &tree) <= 5, "{} levels of half full blocks", depth(&nodes, &tree));
        for index in (0..4096).filter(|index| index % 5 != 0).chain((0..4096).filter(|index| index % 5 == 0)) {
            tree.remove(&nodes, Slot::new(index));
            assert!(depth(&nodes, &tree) <= deepest(tree.len()), "{} for {}", depth(&nodes, &tree), tree.len());
            if index % 64 == 0 {
                assert_eq!(tree.check(&nodes), Ok(()));
            }
        }
        assert!(tree.is_empty());
        assert_eq!(tree.check(&nodes), Ok(()));
    }
}

/// As threads of a few weights do, each behind the others of its own.
#[test]
fn those_who_line_up_at_a_few_places_fill_their_leaves() {
    const PLACES: u32 = 5;
    let (nodes, tree) = filled((0..5000).map(|index| index % PLACES * 10_000 + index));
    let unused = core::iter::successors(tree.unused, |unused| nodes.0[unused.index() as usize].1.next_unused.get());
    let blocks = tree.len() - tree.spare.into_iter().chain(unused).count();
    // As many as there are with thirteen entries each, at all levels, and at each place one that is not full yet.
    assert!(blocks <= 5000 / 12 + PLACES as usize, "{blocks} blocks");
}

#[test]
fn of_two_leaves_that_become_one_the_fewer_nodes_move() {
    let place = |nodes: &Keyed, index: u32| nodes.0[index as usize].0.leaf.get();
    // Three full leaves. Of the third one seven nodes are left, then of the second one two.
    let (nodes, mut tree) = filled(0..45);
    (37..45).for_each(|index| tree.remove(&nodes, Slot::new(index)));
    let places = |nodes: &Keyed| (30..37).map(|index| place(nodes, index)).collect::<Vec<_>>();
    let before = places(&nodes);
    (15..28).for_each(|index| tree.remove(&nodes, Slot::new(index)));
    assert_eq!(places(&nodes), before);
    assert_eq!(place(&nodes, 28).map(Place::block), before[0].map(Place::block));
    assert_eq!(tree.check(&nodes), Ok(()));
}

#[test]
fn nodes_come_and_go_between_trees_with_whatever_block_they_get() {
    let nodes = Keyed::new((0..300).map(|index| index * 7 % 31));
    let mut trees = [Tree::new(), Tree::new(), Tree::new()];
    let mut places: Vec<Option<usize>> = alloc::vec![None; 300];
    let mut random = 1_u64;
    for step in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (index, to) = ((random >> 33) as usize % 300, (random >> 50) as usize % 3);
        let slot = Slot::new(index as u32);
        if let Some(from) = places[index].take() {
            trees[from].remove(&nodes, slot);
        }
        // Now all come together on one, now all leave it.
        if (step / 1_000 + to) % 3 != 0 {
            trees[to].insert(&nodes, slot);
            places[index] = Some(to);
        }
        if step % 50 == 0 {
            trees.iter().for_each(|tree| assert_eq!(tree.check(&nodes), Ok(()), "after step {step}"));
        }
    }
}
