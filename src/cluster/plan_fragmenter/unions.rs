//! UNION ALL, INTERSECT and EXCEPT.

use operators::Expression;

use super::{
    Fragmenter,
    distribution::{Cut, Distribution, Positions},
    take,
};
use crate::{
    error::{Error, Result},
    plan::{
        fragment::Routing,
        physical::{PhysicalOperator, PhysicalPlan},
    },
};

/// Rows up to which the coordinator compares two sets.
const GATHERED_ROWS_MAX: f64 = 10_000.0;

impl Fragmenter<'_> {
    /// Cuts a union and what is below it.
    pub(super) fn union(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let PhysicalOperator::UnionAll { inputs } = &mut plan.operator else { return Err(Error::internal("a union was expected")) };
        let cuts = inputs.drain(..).map(|input| self.cut(input)).collect::<Result<Vec<_>>>()?;
        Ok(self.unite(plan, cuts))
    }

    /// A union of inputs that are cut: in place where they lie alike, else on the coordinator.
    pub(super) fn unite(&mut self, mut plan: PhysicalPlan, cuts: Vec<Cut>) -> Cut {
        let together = together(&cuts);
        let inputs = match &together {
            Some(_) => cuts.into_iter().map(|cut| cut.plan).collect(),
            None => cuts.into_iter().map(|cut| self.drafts.gather(cut)).collect(),
        };
        plan.operator = PhysicalOperator::UnionAll { inputs };
        Cut { plan, distribution: together.unwrap_or(Distribution::Single) }
    }

    /// Equal rows of both inputs have to meet.
    pub(super) fn set_operation(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let PhysicalOperator::SetOperation { left, right, .. } = &mut plan.operator else {
            return Err(Error::internal("a set operation was expected"));
        };
        let cuts = [self.cut(take(left))?, self.cut(take(right))?];
        let types = plan.types();
        let is_small = cuts.iter().all(|cut| cut.plan.estimated_rows <= GATHERED_ROWS_MAX);
        let is_replicated = cuts.iter().all(|cut| cut.distribution == Distribution::Replicated);
        let partitions = cuts.iter().any(|cut| cut.distribution.is_spread()) && !is_small && !types.is_empty();
        let columns = types.into_iter().enumerate().map(|(index, data_type)| Expression::column(index, data_type));
        let columns: Vec<Expression> = columns.collect();
        let [new_left, new_right] = cuts.map(|cut| match partitions {
            true => self.drafts.send(cut, Routing::Hash(columns.clone())),
            false => self.drafts.gather(cut),
        });
        if let PhysicalOperator::SetOperation { left, right, .. } = &mut plan.operator {
            (**left, **right) = (new_left, new_right);
        }
        let distribution = match (partitions, is_replicated) {
            (true, _) => Distribution::hash((0..columns.len()).map(|column| Positions::from([column])).collect()),
            (false, true) => Distribution::Replicated,
            (false, false) => Distribution::Single,
        };
        Ok(Cut { plan, distribution })
    }
}

/// Where the rows of all inputs lie without moving any.
fn together(cuts: &[Cut]) -> Option<Distribution> {
    let mut all = cuts.iter().map(|cut| &cut.distribution);
    let first = all.next()?.clone();
    all.try_fold(first, |known, next| match (&known, next) {
        (Distribution::Hash(known), Distribution::Hash(next)) if known.len() == next.len() => {
            Some(Distribution::hash(known.iter().zip(next).map(|(known, next)| known & next).collect()))
        }
        (Distribution::Hash(_), Distribution::Hash(_)) => Some(Distribution::Hash(vec![])),
        (Distribution::Replicated, Distribution::Replicated) | (Distribution::Single, Distribution::Single) => Some(known),
        _ => None,
    })
    .filter(|distribution| !matches!(distribution, Distribution::Leaf(_)) || cuts.len() == 1)
}
