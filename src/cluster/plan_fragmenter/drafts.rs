//! Fragments and exchanges while a plan is being cut.
//!
//! Position: filled by the walk of [`super::Fragmenter`], made into a plan by [`super::assembly`]. An exchange is its node in the
//! plan of who receives; who that is (and hence what a draft's outputs are) is read off the finished drafts.

use super::distribution::{Cut, Distribution, Leaf};
use crate::plan::{
    fragment::{ExchangeId, ExchangeSpec, FragmentId, Routing},
    logical::CteId,
    physical::{NodeId, PhysicalColumn, PhysicalOperator, PhysicalPlan},
};

/// A fragment to be.
pub(super) struct Draft {
    /// What it computes.
    pub plan: PhysicalPlan,
    /// Where.
    pub place: Place,
}

/// Where a fragment will run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Leaf(Leaf),
    Partitioned,
    Coordinator,
}

/// A CTE, and the draft that computes it.
pub(super) struct Definition {
    pub cte: CteId,
    pub draft: usize,
}

/// All that has been cut off so far.
pub(super) struct Drafts {
    /// Who sends before who receives; the root last. `None`: became part of another.
    pub drafts: Vec<Option<Draft>>,
    /// In order: those that read others come after them.
    pub ctes: Vec<Definition>,
    next_node: u32,
    next_exchange: u32,
    next_cte: u32,
}

impl Drafts {
    /// For cutting `plan`: new nodes and CTEs get numbers that it does not use.
    pub fn new(plan: &PhysicalPlan) -> Self {
        let (mut next_node, mut next_cte) = (0, 0);
        plan.for_each(&mut |node| {
            next_node = next_node.max(node.id.0 + 1);
            if let PhysicalOperator::With { ctes, .. } = &node.operator {
                next_cte = ctes.iter().fold(next_cte, |next, (cte, _)| next.max(cte.0 + 1));
            }
        });
        Drafts { drafts: vec![], ctes: vec![], next_node, next_exchange: 0, next_cte }
    }

    /// A new node of a plan.
    pub fn node(&mut self, operator: PhysicalOperator, output: Vec<PhysicalColumn>, estimated_rows: f64) -> PhysicalPlan {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        PhysicalPlan { id, operator, output, estimated_rows }
    }

    /// A new node above `input` that has its columns and expects its rows.
    pub fn above(&mut self, input: PhysicalPlan, operator: impl FnOnce(Box<PhysicalPlan>) -> PhysicalOperator) -> PhysicalPlan {
        let (output, estimated_rows) = (input.output.clone(), input.estimated_rows);
        self.node(operator(Box::new(input)), output, estimated_rows)
    }

    /// Ends a fragment with `cut`; the answer reads its rows in the next one.
    pub fn send(&mut self, cut: Cut, routing: Routing) -> PhysicalPlan {
        let from = self.end(cut);
        self.exchange(from, routing)
    }

    /// The rows of `cut` on the coordinator.
    pub fn gather(&mut self, cut: Cut) -> PhysicalPlan {
        if cut.distribution.is_spread() { self.send(cut, Routing::Gather) } else { cut.plan }
    }

    /// Ends a fragment with `cut`, whose rows every unit of a leaf fragment reads anew; the answer does.
    pub fn send_to_be_read_often(&mut self, cut: Cut) -> PhysicalPlan {
        let (output, estimated_rows) = (cut.plan.output.clone(), cut.plan.estimated_rows);
        let cte = CteId(self.next_cte);
        self.next_cte += 1;
        self.define(cte, cut);
        self.node(PhysicalOperator::CteScan { cte, columns: (0..output.len()).collect() }, output, estimated_rows)
    }

    /// Ends a fragment with the rows of a CTE.
    pub fn define(&mut self, cte: CteId, cut: Cut) {
        let draft = self.end(cut);
        self.ctes.push(Definition { cte, draft });
    }

    /// Ends the root.
    pub fn finish(&mut self, root: Cut) {
        let plan = self.gather(root);
        self.end(Cut { plan, distribution: Distribution::Single });
    }

    /// Whether everything is in the root.
    pub fn is_one_piece(&self) -> bool {
        self.drafts.iter().flatten().count() < 2
    }

    /// A node that reads what draft `from` gives.
    pub fn exchange(&mut self, from: usize, routing: Routing) -> PhysicalPlan {
        let (output, estimated_rows) = match &self.drafts[from] {
            Some(draft) => (draft.plan.output.clone(), draft.plan.estimated_rows),
            None => (vec![], 0.0),
        };
        let id = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        let from = FragmentId(from as u32);
        // Who receives is known when the fragment around it is.
        let to = FragmentId(u32::MAX);
        self.node(PhysicalOperator::Exchange(ExchangeSpec { id, from, to, routing }), output, estimated_rows)
    }

    fn end(&mut self, cut: Cut) -> usize {
        let place = match cut.distribution {
            Distribution::Leaf(leaf) => Place::Leaf(leaf),
            Distribution::Hash(_) => Place::Partitioned,
            Distribution::Replicated | Distribution::Single => Place::Coordinator,
        };
        self.drafts.push(Some(Draft { plan: cut.plan, place }));
        self.drafts.len() - 1
    }
}

/// The drafts whose rows `plan` reads.
pub(super) fn senders(plan: &PhysicalPlan) -> Vec<usize> {
    let mut senders = vec![];
    plan.for_each(&mut |node| {
        if let PhysicalOperator::Exchange(exchange) = &node.operator {
            senders.push(exchange.from.0 as usize);
        }
    });
    senders
}
