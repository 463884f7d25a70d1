//! The cheapest tree of joins over a hypergraph.
//!
//! Position: between the graph and a [`Model`] that says what joining two sets costs. [`search`] enumerates exactly the pairs of
//! connected, disjoint, connected sets (DPhyp: Moerkotte and Neumann, "Dynamic programming strikes back", SIGMOD 2008); where
//! there are too many of them it falls back to greedy operator ordering (Fegaras 1998), which always joins
//! the pair that is cheapest at the moment.

use std::collections::HashMap;

use super::hypergraph::{Hypergraph, Set, subsets, vertices};

/// Pairs that are tried before the search becomes greedy: a few milliseconds.
const PAIRS_MAX: usize = 20_000;
/// Sets that are looked at, joinable or not.
const SETS_MAX: usize = 20 * PAIRS_MAX;

/// What joins cost.
pub(super) trait Model {
    /// Joins `left` and `right` the cheaper way round; `None` if they cannot be joined (yet). The solution's
    /// cost includes that of both.
    fn join(&self, left: (Set, &Solution), right: (Set, &Solution)) -> Option<Solution>;
}

/// The cheapest known tree over a set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Solution {
    /// Of all joins of the tree.
    pub cost: f64,
    /// That come out.
    pub rows: f64,
    /// Probe side and build side; `None` for a single vertex.
    pub split: Option<(Set, Set)>,
}

/// The trees of a search, by the set they join.
pub(super) type Solutions = HashMap<Set, Solution>;

/// Finds a tree over all vertices of a graph, and over all parts of it. `leaf_rows` are rows of the vertices.
/// `None` if the model refuses to join what is left.
pub(super) fn search(graph: &Hypergraph, leaf_rows: &[f64], model: &impl Model) -> Option<Solutions> {
    let leaves = || -> Solutions {
        leaf_rows.iter().enumerate().map(|(vertex, rows)| (1 << vertex, Solution { cost: 0.0, rows: *rows, split: None })).collect()
    };
    let mut enumeration = Enumeration { graph, model, solutions: leaves(), pairs: 0, sets: 0 };
    enumeration.run();
    if !enumeration.is_over() && enumeration.solutions.contains_key(&graph.all()) {
        return Some(enumeration.solutions);
    }
    greedy(graph, leaves(), model)
}

struct Enumeration<'a, M> {
    graph: &'a Hypergraph,
    model: &'a M,
    solutions: Solutions,
    pairs: usize,
    sets: usize,
}

impl<M: Model> Enumeration<'_, M> {
    fn run(&mut self) {
        for vertex in (0..self.graph.count()).rev() {
            let set = 1 << vertex;
            self.complements_of(set);
            self.grow(set, up_to(vertex));
        }
    }

    /// Extends a connected set by neighbours outside `excluded`.
    fn grow(&mut self, set: Set, excluded: Set) {
        let neighbours = self.graph.neighbours(set, excluded);
        for more in subsets(neighbours) {
            self.sets += 1;
            if self.is_over() {
                return;
            }
            if self.solutions.contains_key(&(set | more)) {
                self.complements_of(set | more);
            }
        }
        for more in subsets(neighbours) {
            self.sets += 1;
            if self.is_over() {
                return;
            }
            self.grow(set | more, excluded | neighbours);
        }
    }

    /// Pairs a connected set with all connected sets that it has not been paired with from the other side.
    fn complements_of(&mut self, set: Set) {
        let excluded = set | up_to(set.trailing_zeros() as usize);
        let neighbours = self.graph.neighbours(set, excluded);
        for vertex in vertices(neighbours).rev() {
            let complement = 1 << vertex;
            if self.graph.connects(set, complement) {
                self.pair(set, complement);
            }
            self.grow_complement(set, complement, excluded | up_to(vertex) & neighbours);
        }
    }

    fn grow_complement(&mut self, set: Set, complement: Set, excluded: Set) {
        let neighbours = self.graph.neighbours(complement, excluded | set);
        for more in subsets(neighbours) {
            self.sets += 1;
            if self.is_over() {
                return;
            }
            let larger = complement | more;
            if self.solutions.contains_key(&larger) && self.graph.connects(set, larger) {
                self.pair(set, larger);
            }
        }
        for more in subsets(neighbours) {
            self.sets += 1;
            if self.is_over() {
                return;
            }
            self.grow_complement(set, complement | more, excluded | neighbours);
        }
    }

    fn pair(&mut self, left: Set, right: Set) {
        self.pairs += 1;
        let (Some(a), Some(b)) = (self.solutions.get(&left), self.solutions.get(&right)) else { return };
        let Some(solution) = self.model.join((left, a), (right, b)) else { return };
        let is_better = self.solutions.get(&(left | right)).is_none_or(|known| solution.cost < known.cost);
        if is_better {
            self.solutions.insert(left | right, solution);
        }
    }

    fn is_over(&self) -> bool {
        self.pairs > PAIRS_MAX || self.sets > SETS_MAX
    }
}

/// Vertices 0 to `vertex`.
fn up_to(vertex: usize) -> Set {
    Set::MAX >> (63 - vertex)
}

fn greedy(graph: &Hypergraph, mut solutions: Solutions, model: &impl Model) -> Option<Solutions> {
    let mut trees: Vec<Set> = (0..graph.count()).map(|vertex| 1 << vertex).collect();
    while trees.len() > 1 {
        let connected = cheapest_pair(&trees, &solutions, model, |a, b| graph.connects(a, b));
        // What no edge connects is multiplied.
        let (i, j, solution) = connected.or_else(|| cheapest_pair(&trees, &solutions, model, |_, _| true))?;
        let joined = trees[i] | trees[j];
        trees.swap_remove(j);
        trees[i] = joined;
        solutions.insert(joined, solution);
    }
    Some(solutions)
}

/// The pair of trees, with `i < j`, whose join adds least to the cost and to the rows.
fn cheapest_pair(
    trees: &[Set],
    solutions: &Solutions,
    model: &impl Model,
    may_join: impl Fn(Set, Set) -> bool,
) -> Option<(usize, usize, Solution)> {
    let mut best: Option<(f64, usize, usize, Solution)> = None;
    for i in 0..trees.len() {
        for j in i + 1..trees.len() {
            if !may_join(trees[i], trees[j]) {
                continue;
            }
            let (a, b) = (&solutions[&trees[i]], &solutions[&trees[j]]);
            let Some(solution) = model.join((trees[i], a), (trees[j], b)) else { continue };
            // Rows count again, because every later join has them as input.
            let added = solution.cost - a.cost - b.cost + solution.rows;
            if best.as_ref().is_none_or(|(least, ..)| added < *least) {
                best = Some((added, i, j, solution));
            }
        }
    }
    best.map(|(_, i, j, solution)| (i, j, solution))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cost: rows of every join; rows: product of the leaves' rows and of the edges' selectivities.
    struct Random {
        graph: Hypergraph,
        rows: Vec<f64>,
        selectivities: Vec<(Set, Set, f64)>,
    }

    impl Random {
        /// A linear congruential generator; the graph is connected by a random tree and has some more edges, some complex.
        fn new(seed: u64, count: usize) -> Self {
            let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut next = |limit: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % limit
            };
            let mut graph = Hypergraph::new(count);
            let mut selectivities = Vec::new();
            for vertex in 1..count {
                selectivities.push((1 << next(vertex), 1 << vertex, 1.0 / (1 + next(1000)) as f64));
            }
            for _ in 0..next(count) {
                let right: Set = 1 << next(count);
                let left = (1 << next(count)) | if next(3) == 0 { 1 << next(count) } else { 0 };
                if left & right == 0 {
                    selectivities.push((left, right, 1.0 / (1 + next(100)) as f64));
                }
            }
            selectivities.iter().for_each(|(left, right, _)| graph.connect(*left, *right));
            let rows = (0..count).map(|_| (1 + next(10_000)) as f64).collect();
            Random { graph, rows, selectivities }
        }

        fn rows_of(&self, set: Set) -> f64 {
            let product: f64 = vertices(set).map(|vertex| self.rows[vertex]).product();
            let applied = self.selectivities.iter().filter(|(left, right, _)| (left | right) & !set == 0);
            product * applied.map(|(.., selectivity)| selectivity).product::<f64>()
        }

        /// The least cost over all splits of a set into connected parts.
        fn brute_force(&self, set: Set, known: &mut HashMap<Set, Option<f64>>) -> Option<f64> {
            if set.count_ones() == 1 {
                return Some(0.0);
            }
            if let Some(cost) = known.get(&set) {
                return *cost;
            }
            let mut best: Option<f64> = None;
            for left in subsets(set).filter(|left| *left != set) {
                let right = set & !left;
                if left < right || !self.graph.connects(left, right) {
                    continue;
                }
                if let (Some(a), Some(b)) = (self.brute_force(left, known), self.brute_force(right, known)) {
                    let cost = a + b + self.rows_of(set);
                    best = Some(best.map_or(cost, |least| least.min(cost)));
                }
            }
            known.insert(set, best);
            best
        }
    }

    impl Model for Random {
        fn join(&self, left: (Set, &Solution), right: (Set, &Solution)) -> Option<Solution> {
            let rows = self.rows_of(left.0 | right.0);
            Some(Solution { cost: left.1.cost + right.1.cost + rows, rows, split: Some((left.0, right.0)) })
        }
    }

    fn cost_of_tree(random: &Random, solutions: &Solutions, set: Set) -> f64 {
        match solutions[&set].split {
            None => 0.0,
            Some((left, right)) => {
                assert_eq!((left | right, left & right), (set, 0));
                cost_of_tree(random, solutions, left) + cost_of_tree(random, solutions, right) + random.rows_of(set)
            }
        }
    }

    #[test]
    fn dynamic_programming_finds_what_brute_force_finds() {
        for seed in 0..300 {
            let random = Random::new(seed, 2 + seed as usize % 7);
            let solutions = search(&random.graph, &random.rows, &random).unwrap();
            let found = solutions[&random.graph.all()].cost;
            let least = random.brute_force(random.graph.all(), &mut HashMap::new()).unwrap();
            assert!((found - least).abs() <= 1e-9 * least, "seed {seed}: {found} instead of {least}");
            let recomputed = cost_of_tree(&random, &solutions, random.graph.all());
            assert!((recomputed - found).abs() <= 1e-9 * found, "seed {seed}");
        }
    }

    #[test]
    fn many_relations_are_joined_greedily() {
        for count in [20, 40, 64] {
            let mut random = Random::new(7, count);
            // A clique has far more pairs than may be tried.
            for i in 0..count {
                for j in i + 1..count {
                    random.graph.connect(1 << i, 1 << j);
                }
            }
            let solutions = search(&random.graph, &random.rows, &random).unwrap();
            cost_of_tree(&random, &solutions, random.graph.all());
        }
    }

    #[test]
    fn what_no_edge_connects_is_multiplied() {
        let random = Random { graph: Hypergraph::new(3), rows: vec![2.0, 3.0, 5.0], selectivities: vec![] };
        let solutions = search(&random.graph, &random.rows, &random).unwrap();
        assert_eq!(solutions[&0b111].rows, 30.0);
    }
}
