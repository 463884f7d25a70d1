//! Random plans, what their fragments do with rows, and what therefore must come out.
//!
//! A row is a number. A leaf unit makes its own rows; a fragment of another kind passes on what hash and gather exchanges bring it.
//! Rows that are broadcast are compared with what was due, and end there. As in a hash join, some inputs are read to their end (build
//! sides) before rows of the others are taken.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::testing::{connect, coordinator, leaf, partitioned},
    random::{Random, mix},
};
use crate::{
    cluster::{control::UnitId, node::NodeIndex},
    plan::{
        fragment::{DistributedPlan, ExchangeSpec, Fragment, FragmentId, Placement, Routing},
        physical::RuntimeFilterId,
    },
};

/// A row, by its number.
pub type Row = i64;

/// A plan, and how its fragments behave.
#[derive(Debug)]
pub struct Scenario {
    /// The plan.
    pub plan: Arc<DistributedPlan>,
    /// By fragment.
    pub recipes: Vec<Recipe>,
    /// A unit that fails by itself.
    pub failing: Option<UnitId>,
}

/// How a fragment behaves.
#[derive(Debug, Default)]
pub struct Recipe {
    /// Inputs that are read to the end first.
    pub build: Vec<ExchangeSpec>,
    /// Inputs that are read then.
    pub probe: Vec<ExchangeSpec>,
    /// Whether the fragment ends without reading those.
    pub skips_probe: bool,
    /// Whether it ends without having told its filters.
    pub forgets_filters: bool,
    /// Whether it says of some nodes' build sides that everything passes.
    pub gives_up_filters: bool,
}

impl Scenario {
    /// A random one.
    pub fn random(random: &mut Random) -> Self {
        let num_senders = 1 + random.below(6);
        let targets: Vec<BTreeSet<usize>> = (0..num_senders).map(|from| targets(random, from, num_senders)).collect();
        let mut fragments: Vec<Fragment> = (0..num_senders).map(|number| random_fragment(random, number, &targets)).collect();
        fragments.push(coordinator());
        for (number, fragment) in fragments.iter_mut().enumerate() {
            fragment.id = FragmentId(number as u32);
        }
        for (from, to) in targets.iter().enumerate().flat_map(|(from, targets)| targets.iter().map(move |to| (from, *to))) {
            connect(&mut fragments, from, to);
            if matches!(fragments[to].placement, Placement::Partitioned) && random.percent(25) {
                fragments[from].outputs.last_mut().unwrap().routing = Routing::Broadcast;
            }
        }
        // Exchanges were numbered while there were fewer.
        for (number, output) in fragments.iter_mut().flat_map(|fragment| &mut fragment.outputs).enumerate() {
            output.id.0 = number as u32;
        }
        let recipes = (0..fragments.len()).map(|number| random_recipe(random, &fragments, number)).collect();
        let mut scenario = Scenario { plan: Arc::new(DistributedPlan { fragments }), recipes, failing: None };
        for filter in 0..random.below(4) as u32 {
            scenario.add_filter(random, RuntimeFilterId(filter));
        }
        if random.percent(5) {
            scenario.failing = scenario.plan.fragments.iter().find_map(|fragment| {
                (num_units(fragment, 1) > 0 && is_leaf(fragment)).then_some(UnitId { fragment: fragment.id, unit: 0 })
            });
        }
        scenario
    }

    /// The rows a leaf unit makes.
    pub fn rows_of(&self, unit: UnitId) -> Vec<Row> {
        let first = i64::from(unit.fragment.0) * 10_000 + i64::from(unit.unit) * 10;
        (first..first + (mix(first as u64) % 5) as i64).collect()
    }

    /// All rows that the units of a fragment send, sorted.
    pub fn output_of(&self, fragment: FragmentId) -> Vec<Row> {
        let recipe = &self.recipes[fragment.0 as usize];
        let mut rows: Vec<Row> = match &self.plan.fragment(fragment).placement {
            Placement::Leaf { units, .. } => {
                (0..units.len()).flat_map(|unit| self.rows_of(UnitId { fragment, unit: unit as u32 })).collect()
            }
            _ => recipe.passed_on().flat_map(|input| self.output_of(input.from)).collect(),
        };
        rows.sort_unstable();
        rows
    }

    /// The rows of an exchange that are due at a node, sorted.
    pub fn due(&self, exchange: &ExchangeSpec, node: NodeIndex, num_workers: usize) -> Vec<Row> {
        let rows = self.output_of(exchange.from);
        rows.into_iter().filter(|row| receivers(exchange, *row, num_workers).contains(&node)).collect()
    }

    /// What every filter that this fragment makes must let pass.
    pub fn keys_of_maker(&self, filter: RuntimeFilterId) -> Vec<Row> {
        let maker = self.plan.fragments.iter().find(|fragment| fragment.filters_out.contains(&filter)).unwrap();
        self.recipes[maker.id.0 as usize].build.iter().flat_map(|input| self.output_of(input.from)).collect()
    }

    /// Adds a filter from a build side to a scan, if a pair can be found for which no one waits for himself.
    fn add_filter(&mut self, random: &mut Random, filter: RuntimeFilterId) {
        let num_fragments = self.plan.fragments.len();
        let (maker, scan) = (random.below(num_fragments), random.below(num_fragments));
        if maker == scan || !is_leaf(&self.plan.fragments[scan]) || self.recipes[maker].build.is_empty() {
            return;
        }
        let mut plan = (*self.plan).clone();
        plan.fragments[maker].filters_out.push(filter);
        plan.fragments[scan].filters_in.push(filter);
        let forgets = self.recipes[maker].forgets_filters;
        self.recipes[maker].forgets_filters |= self.recipes[maker].skips_probe && random.percent(30);
        self.recipes[maker].gives_up_filters |= random.percent(15);
        let before = std::mem::replace(&mut self.plan, Arc::new(plan));
        let fragments = 0..num_fragments;
        if fragments.clone().any(|fragment| self.waits_for_itself(Moment::Done(fragment), &mut vec![])) {
            self.plan = before;
            self.recipes[maker].forgets_filters = forgets;
        }
    }

    fn waits_for_itself(&self, moment: Moment, path: &mut Vec<Moment>) -> bool {
        if path.contains(&moment) {
            return true;
        }
        path.push(moment);
        let waits = self.preconditions(moment).into_iter().any(|before| self.waits_for_itself(before, path));
        path.pop();
        waits
    }

    fn preconditions(&self, moment: Moment) -> Vec<Moment> {
        let done = |input: &ExchangeSpec| Moment::Done(input.from.0 as usize);
        match moment {
            Moment::Started(fragment) => {
                let filters = &self.plan.fragments[fragment].filters_in;
                let makers = self.plan.fragments.iter().filter(|maker| maker.filters_out.iter().any(|filter| filters.contains(filter)));
                let makers = makers.map(|maker| maker.id.0 as usize);
                makers.map(|maker| if self.recipes[maker].forgets_filters { Moment::Done(maker) } else { Moment::Built(maker) }).collect()
            }
            Moment::Built(fragment) => self.recipes[fragment].build.iter().map(done).collect(),
            Moment::Done(fragment) => {
                let recipe = &self.recipes[fragment];
                let probe = if recipe.skips_probe { &[][..] } else { &recipe.probe };
                // Who sends to a probe side gets credit only when the build side is there.
                let credit = self.plan.fragments[fragment].outputs.iter().map(|output| output.to.0 as usize);
                let credit = credit.filter(|to| self.recipes[*to].probe.iter().any(|input| input.from.0 as usize == fragment));
                let own = [Moment::Started(fragment), Moment::Built(fragment)];
                own.into_iter().chain(probe.iter().map(done)).chain(credit.map(Moment::Built)).collect()
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    Started(usize),
    Built(usize),
    Done(usize),
}

impl Recipe {
    /// Inputs whose rows become the fragment's own.
    pub fn passed_on(&self) -> impl Iterator<Item = &ExchangeSpec> {
        let probe = if self.skips_probe { &[][..] } else { &self.probe };
        self.build.iter().chain(probe).filter(|input| !matches!(input.routing, Routing::Broadcast))
    }

    /// All inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &ExchangeSpec> {
        self.build.iter().chain(&self.probe)
    }
}

/// Where a row goes.
pub fn receivers(exchange: &ExchangeSpec, row: Row, num_workers: usize) -> Vec<NodeIndex> {
    match exchange.routing {
        Routing::Gather | Routing::Merge(_) => vec![NodeIndex::COORDINATOR],
        Routing::Hash(_) => vec![NodeIndex(1 + (mix(row as u64) % num_workers as u64) as u16)],
        Routing::Broadcast => all_receivers(exchange, num_workers),
    }
}

/// Who is told when a unit has ended.
pub fn all_receivers(exchange: &ExchangeSpec, num_workers: usize) -> Vec<NodeIndex> {
    match exchange.routing {
        Routing::Gather | Routing::Merge(_) => vec![NodeIndex::COORDINATOR],
        Routing::Hash(_) | Routing::Broadcast => (1..=num_workers as u16).map(NodeIndex).collect(),
    }
}

/// How many units a fragment has.
pub fn num_units(fragment: &Fragment, num_workers: usize) -> usize {
    match &fragment.placement {
        Placement::Leaf { units, .. } => units.len(),
        Placement::Partitioned => num_workers,
        Placement::Coordinator => 1,
    }
}

/// Whether units of the fragment can run anywhere.
pub fn is_leaf(fragment: &Fragment) -> bool {
    matches!(fragment.placement, Placement::Leaf { .. })
}

/// One or two later fragments; the root is the last.
fn targets(random: &mut Random, from: usize, root: usize) -> BTreeSet<usize> {
    let later = |random: &mut Random| from + 1 + random.below(root - from);
    let count = if random.percent(15) { 2 } else { 1 };
    (0..count).map(|_| later(random)).collect()
}

fn random_fragment(random: &mut Random, number: usize, targets: &[BTreeSet<usize>]) -> Fragment {
    let has_input = targets.iter().any(|targets| targets.contains(&number));
    match random.below(10) {
        0 if has_input => coordinator(),
        1..=4 if has_input => partitioned(),
        _ if random.percent(3) => leaf(0),
        _ => leaf(1 + random.below(12)),
    }
}

fn random_recipe(random: &mut Random, fragments: &[Fragment], number: usize) -> Recipe {
    let mut recipe = Recipe { skips_probe: number + 1 < fragments.len() && random.percent(15), ..Recipe::default() };
    let inputs = fragments.iter().flat_map(|fragment| &fragment.outputs).filter(|output| output.to.0 as usize == number);
    for input in inputs {
        // A leaf unit needs all that is broadcast to it; a broadcast is a build side anywhere.
        let is_build = is_leaf(&fragments[number]) || matches!(input.routing, Routing::Broadcast) || random.percent(50);
        if is_build { &mut recipe.build } else { &mut recipe.probe }.push(input.clone());
    }
    recipe
}
