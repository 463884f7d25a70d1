//! Shared CTEs: computed once, in a fragment of their own, and sent to every fragment that reads them.
//!
//! A reader keeps the rows: its plan is wrapped in a `With` whose CTE is the exchange, so that all its `CteScan`s read one buffer
//! on a node. What is computed on the coordinator for another fragment there alone stays in that fragment.
//!
//! Position: when all cuts are made, for only then it is known who reads what.

use super::drafts::{Draft, Drafts, Place};
use crate::plan::{
    fragment::Routing,
    logical::CteId,
    physical::{PhysicalOperator, PhysicalPlan},
};

impl Drafts {
    /// Gives every reader of a CTE its rows.
    pub fn connect_ctes(&mut self) {
        // Backwards: what moves into a reader brings along the CTEs it reads itself.
        while let Some(definition) = self.ctes.pop() {
            let readers = self.readers(definition.cte);
            let is_local = |draft: usize| matches!(&self.drafts[draft], Some(Draft { place: Place::Coordinator, .. }));
            match readers[..] {
                [reader] if is_local(reader) && is_local(definition.draft) => self.merge(&definition.cte, definition.draft, reader),
                _ => readers.into_iter().for_each(|reader| self.connect(definition.cte, definition.draft, reader)),
            }
        }
        self.drop_unread();
    }

    fn readers(&self, cte: CteId) -> Vec<usize> {
        let reads = |draft: &Option<Draft>| draft.as_ref().is_some_and(|draft| reads(&draft.plan, cte));
        (0..self.drafts.len()).filter(|draft| reads(&self.drafts[*draft])).collect()
    }

    fn merge(&mut self, cte: &CteId, draft: usize, reader: usize) {
        if let Some(draft) = self.drafts[draft].take() {
            self.wrap(reader, *cte, draft.plan);
        }
    }

    fn connect(&mut self, cte: CteId, draft: usize, reader: usize) {
        let is_coordinator = self.drafts[reader].as_ref().is_some_and(|reader| reader.place == Place::Coordinator);
        let exchange = self.exchange(draft, if is_coordinator { Routing::Gather } else { Routing::Broadcast });
        self.wrap(reader, cte, exchange);
    }

    /// Puts a CTE around the plan of a draft, before those that it has: they may read it.
    fn wrap(&mut self, reader: usize, cte: CteId, plan: PhysicalPlan) {
        let Some(mut draft) = self.drafts[reader].take() else { return };
        if let PhysicalOperator::With { ctes, .. } = &mut draft.plan.operator {
            ctes.insert(0, (cte, plan));
        } else {
            draft.plan = self.above(draft.plan, |input| PhysicalOperator::With { ctes: vec![(cte, plan)], input });
        }
        self.drafts[reader] = Some(draft);
    }

    /// Drops drafts whose rows nobody reads.
    fn drop_unread(&mut self) {
        let mut read = vec![false; self.drafts.len()];
        for draft in (0..self.drafts.len()).rev() {
            let is_root = draft + 1 == self.drafts.len();
            match &self.drafts[draft] {
                Some(wanted) if is_root || read[draft] => {
                    super::drafts::senders(&wanted.plan).into_iter().for_each(|sender| read[sender] = true);
                }
                _ => self.drafts[draft] = None,
            }
        }
    }
}

fn reads(plan: &PhysicalPlan, wanted: CteId) -> bool {
    let mut found = false;
    plan.for_each(&mut |node| found |= matches!(node.operator, PhysicalOperator::CteScan { cte, .. } if cte == wanted));
    found
}
