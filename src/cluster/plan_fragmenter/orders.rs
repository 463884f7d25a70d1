//! Sorts and limits: each node's share where the rows are, the rest on the coordinator.
//!
//! The coordinator is where an order is kept: what stands above a sort runs there, too.

use super::{
    Fragmenter,
    distribution::{Cut, Distribution},
    take,
};
use crate::{
    error::{Error, Result},
    plan::{
        fragment::Routing,
        physical::{PhysicalOperator, PhysicalPlan},
    },
};

impl Fragmenter<'_> {
    /// With a limit the best rows of every unit are sorted again; without, every unit's sorted rows are merged.
    pub(super) fn sort(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let PhysicalOperator::Sort { input, keys, limit, offset } = &mut plan.operator else {
            return Err(Error::internal("a sort was expected"));
        };
        let below = self.cut(take(input))?;
        if !below.distribution.is_spread() {
            **input = below.plan;
            return Ok(Cut { plan, distribution: Distribution::Single });
        }
        let (keys, limit, offset) = (keys.clone(), *limit, *offset);
        let local_limit = limit.map(|limit| limit.saturating_add(offset));
        let sort = |input| PhysicalOperator::Sort { input, keys: keys.clone(), limit: local_limit, offset: 0 };
        let mut local = self.drafts.above(below.plan, sort);
        // The root's names differ from those below it.
        local.output = plan.output.clone();
        if let Some(limit) = local_limit {
            local.estimated_rows = local.estimated_rows.min(limit as f64);
        }
        let local = Cut { plan: local, distribution: below.distribution };
        if limit.is_none() {
            let merged = self.drafts.send(local, Routing::Merge(keys));
            let plan = match offset {
                0 => merged,
                _ => PhysicalPlan { operator: PhysicalOperator::Limit { input: Box::new(merged), limit, offset }, ..plan },
            };
            return Ok(Cut { plan, distribution: Distribution::Single });
        }
        let gathered = self.drafts.send(local, Routing::Gather);
        plan.operator = PhysicalOperator::Sort { input: Box::new(gathered), keys, limit, offset };
        Ok(Cut { plan, distribution: Distribution::Single })
    }

    /// Every unit gives as many rows as are wanted of all.
    pub(super) fn limit(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let PhysicalOperator::Limit { input, limit, offset } = &mut plan.operator else {
            return Err(Error::internal("a limit was expected"));
        };
        let mut below = self.cut(take(input))?;
        if let (true, Some(limit)) = (below.distribution.is_spread(), *limit) {
            let rows = limit.saturating_add(*offset);
            below.plan = self.drafts.above(below.plan, |input| PhysicalOperator::Limit { input, limit: Some(rows), offset: 0 });
            below.plan.estimated_rows = below.plan.estimated_rows.min(rows as f64);
        }
        **input = self.drafts.gather(below);
        Ok(Cut { plan, distribution: Distribution::Single })
    }
}
