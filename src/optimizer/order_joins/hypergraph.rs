//! Which sets of relations can be joined: a graph whose edges connect sets of vertices.
//!
//! Position: between the region, which makes it from predicates, and the search. Sets are words of bits.

/// A set of vertices.
pub(super) type Set = u64;

/// An edge: relations of `left` can be joined with those of `right` when all of both are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edge {
    left: Set,
    right: Set,
}

/// Vertices, numbered from 0, at most 64, and edges.
#[derive(Debug, Clone, Default)]
pub(super) struct Hypergraph {
    count: usize,
    /// Per vertex: vertices that a simple edge leads to.
    simple: Vec<Set>,
    complex: Vec<Edge>,
}

impl Hypergraph {
    /// A graph without edges.
    pub(super) fn new(count: usize) -> Self {
        Hypergraph { count, simple: vec![0; count], complex: Vec::new() }
    }

    /// How many vertices there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// All vertices.
    pub(super) fn all(&self) -> Set {
        if self.count == 64 { Set::MAX } else { (1 << self.count) - 1 }
    }

    /// Adds an edge; ignored if its sides meet or one is empty.
    pub(super) fn connect(&mut self, left: Set, right: Set) {
        if left & right != 0 || left == 0 || right == 0 {
            return;
        }
        if left.count_ones() == 1 && right.count_ones() == 1 {
            self.simple[left.trailing_zeros() as usize] |= right;
            self.simple[right.trailing_zeros() as usize] |= left;
        } else if !self.complex.contains(&Edge { left, right }) {
            self.complex.push(Edge { left, right });
            self.complex.push(Edge { left: right, right: left });
        }
    }

    /// Whether an edge leads from a part of `left` to a part of `right`.
    pub(super) fn connects(&self, left: Set, right: Set) -> bool {
        vertices(left).any(|vertex| self.simple[vertex] & right != 0)
            || self.complex.iter().any(|edge| edge.left & !left == 0 && edge.right & !right == 0)
    }

    /// One vertex of every set outside `set` and `excluded` that an edge from `set` leads to.
    pub(super) fn neighbours(&self, set: Set, excluded: Set) -> Set {
        let outside = !(set | excluded);
        let simple = vertices(set).fold(0, |found, vertex| found | self.simple[vertex]) & outside;
        self.complex
            .iter()
            .filter(|edge| edge.left & !set == 0 && edge.right & !outside == 0 && edge.right & simple == 0)
            .fold(simple, |found, edge| found | edge.right & edge.right.wrapping_neg())
    }

    /// Sets of vertices that edges connect to each other (complex edges count once one of their sides is complete), disjoint and together all vertices.
    pub(super) fn components(&self) -> Vec<Set> {
        let mut components: Vec<Set> = (0..self.count).map(|vertex| 1 << vertex).collect();
        loop {
            let found = (0..components.len())
                .flat_map(|i| (i + 1..components.len()).map(move |j| (i, j)))
                .find(|(i, j)| self.connects(components[*i], components[*j]));
            let Some((i, j)) = found else { return components };
            let merged = components.swap_remove(j);
            components[i] |= merged;
        }
    }
}

/// The members of a set, ascending.
pub(super) fn vertices(set: Set) -> impl DoubleEndedIterator<Item = usize> {
    (0..64).filter(move |vertex| set >> vertex & 1 == 1)
}

/// All subsets of `set` but the empty one, the smaller before those that contain them.
pub(super) fn subsets(set: Set) -> impl Iterator<Item = Set> {
    let mut next = set & set.wrapping_neg();
    std::iter::from_fn(move || {
        if next == 0 {
            return None;
        }
        let subset = next;
        // Counts within the bits of `set`.
        next = next.wrapping_sub(set) & set;
        Some(subset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_all_and_in_order_of_containment() {
        assert_eq!(subsets(0b1011).collect::<Vec<_>>(), [1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(subsets(0).count(), 0);
        assert_eq!(subsets(Set::MAX).next(), Some(1));
    }

    #[test]
    fn complex_edges_need_their_whole_side() {
        let mut graph = Hypergraph::new(4);
        graph.connect(0b0001, 0b0010);
        graph.connect(0b0011, 0b0100);
        assert!(!graph.connects(0b0001, 0b0100));
        assert!(graph.connects(0b0011, 0b0100));
        assert_eq!(graph.neighbours(0b0001, 0), 0b0010);
        assert_eq!(graph.neighbours(0b0011, 0), 0b0100);
        assert_eq!(graph.components().len(), 2);
    }
}
