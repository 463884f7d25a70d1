//! Aggregations: in place where equal keys are together, else in two steps with an exchange between.
//!
//! ```text
//!  in two steps:   … → partial aggregate ══hash(keys) or gather══► final aggregate → …
//!  otherwise:      … ══hash(keys) or gather══► aggregate → …          DISTINCT, variances, text in order
//! ```
//! Counts are united by a sum whose type is Int64 again: an overflow is an error, as it would be in one step.
//!
//! Position: over a union every input gets the first step and an exchange of its own.

use arrow::datatypes::DataType;
use operators::{
    Expression,
    aggregate::{AggregateCall, AggregateFunction},
};

use super::{
    Fragmenter,
    distribution::{Cut, Distribution, Leaf, Positions},
    joins::gives_the_same_everywhere,
    sizes::output_bytes,
    take,
    units::{UNITS_PER_THREAD_OF_MANY_GROUPS, expected_units},
};
use crate::{
    error::{Error, Result},
    plan::{
        fragment::Routing,
        physical::{PhysicalColumn, PhysicalOperator, PhysicalPlan},
    },
};

/// Groups up to which one node unites them as fast as all could: so many, or so many bytes of them. What the coordinator unites does not
/// have to be done again when a worker is lost; what workers unite does.
const GATHERED_GROUPS_MAX: f64 = 10_000.0;
const GATHERED_BYTES_MAX: f64 = 4.0 * 1024.0 * 1024.0;
/// Groups from which on it matters that every unit of a leaf may find all of them.
const MANY_GROUPS: f64 = 100_000.0;
/// A first step that leaves a larger share of its rows is not worth it.
const LEFT_MAX: f64 = 0.7;
/// Up to so many rows it always is: it costs little, and the number of groups may be overestimated.
const FEW_ROWS: f64 = 4_000_000.0;

/// An aggregation without its input.
struct Aggregation {
    keys: Vec<Expression>,
    calls: Vec<AggregateCall>,
    key_bounds: Vec<Option<(i64, i64)>>,
    output: Vec<PhysicalColumn>,
    groups: f64,
}

impl Fragmenter<'_> {
    /// Cuts an aggregation and what is below it.
    pub(super) fn aggregate(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let (output, groups) = (plan.output.clone(), plan.estimated_rows);
        let PhysicalOperator::HashAggregate { input, keys, aggregates, key_bounds } = &mut plan.operator else {
            return Err(Error::internal("an aggregation was expected"));
        };
        let aggregation = Aggregation { keys: keys.clone(), calls: aggregates.clone(), key_bounds: key_bounds.clone(), output, groups };
        let input = take(input);
        let inputs = self.union_inputs(input)?;
        if let [only] = &inputs[..]
            && let Some(distribution) = only.distribution.with_equal_together(&aggregation.keys)
        {
            return Ok(in_place(plan, inputs, &aggregation, distribution));
        }
        self.in_steps(plan, inputs, &aggregation)
    }

    /// The inputs of a union, each by itself; of anything else, itself. A union that lies in one place stays.
    fn union_inputs(&mut self, mut plan: PhysicalPlan) -> Result<Vec<Cut>> {
        let PhysicalOperator::UnionAll { inputs } = &mut plan.operator else { return Ok(vec![self.cut(plan)?]) };
        let cuts = inputs.drain(..).map(|input| self.cut(input)).collect::<Result<Vec<_>>>()?;
        if cuts.iter().any(|cut| cut.distribution.is_spread()) {
            return Ok(cuts);
        }
        Ok(vec![self.unite(plan, cuts)])
    }

    fn in_steps(&mut self, mut plan: PhysicalPlan, inputs: Vec<Cut>, aggregation: &Aggregation) -> Result<Cut> {
        let in_two = aggregation.calls.iter().all(|call| call_can_be_split(call, &aggregation.keys));
        let are_few = aggregation.groups <= GATHERED_GROUPS_MAX || output_bytes(&plan) <= GATHERED_BYTES_MAX;
        let gathers = aggregation.keys.is_empty() || (in_two && are_few);
        let in_two = in_two && (gathers || self.reduces(&inputs, aggregation)?);
        let mut sent = vec![];
        for input in inputs {
            let first = if in_two { self.partial(input, aggregation) } else { input };
            sent.push(match gathers {
                true => self.drafts.gather(first),
                false => self.drafts.send(first, Routing::Hash(aggregation.keys_of_second_step(in_two))),
            });
        }
        let input = self.all_of(sent);
        let (keys, aggregates) = match in_two {
            true => (aggregation.keys_of_second_step(true), aggregation.calls_of_second_step()),
            false => (aggregation.keys.clone(), aggregation.calls.clone()),
        };
        let key_bounds = aggregation.key_bounds.clone();
        plan.operator = PhysicalOperator::HashAggregate { input: Box::new(input), keys, aggregates, key_bounds };
        let classes = (0..aggregation.keys.len()).map(|key| Positions::from([key])).collect();
        let distribution = if gathers { Distribution::Single } else { Distribution::hash(classes) };
        Ok(Cut { plan, distribution })
    }

    fn all_of(&mut self, mut inputs: Vec<PhysicalPlan>) -> PhysicalPlan {
        if inputs.len() == 1 {
            return inputs.remove(0);
        }
        let output = inputs.first().map(|input| input.output.clone()).unwrap_or_default();
        let estimated_rows = inputs.iter().map(|input| input.estimated_rows).sum();
        self.drafts.node(PhysicalOperator::UnionAll { inputs }, output, estimated_rows)
    }

    /// The first step, over one input.
    fn partial(&mut self, input: Cut, aggregation: &Aggregation) -> Cut {
        let groups = aggregation.groups.min(input.plan.estimated_rows);
        let operator = PhysicalOperator::HashAggregate {
            input: Box::new(input.plan),
            keys: aggregation.keys.clone(),
            aggregates: aggregation.calls.clone(),
            key_bounds: aggregation.key_bounds.clone(),
        };
        let plan = self.drafts.node(operator, aggregation.output.clone(), groups);
        let distribution = match input.distribution {
            Distribution::Leaf(leaf) => Distribution::Leaf(aggregation.units(leaf)),
            other => other,
        };
        Cut { plan, distribution }
    }

    /// Whether the first step leaves much fewer rows than come.
    fn reduces(&self, inputs: &[Cut], aggregation: &Aggregation) -> Result<bool> {
        let (mut before, mut after) = (0.0, 0.0);
        for input in inputs {
            let rows = input.plan.estimated_rows;
            let runs = match &input.distribution {
                Distribution::Leaf(leaf) => {
                    expected_units(&aggregation.units(leaf.clone()), &self.scans, self.shape.threads, &self.limits)?
                }
                Distribution::Hash(_) => self.shape.workers,
                Distribution::Replicated | Distribution::Single => 1,
            };
            before += rows;
            after += rows.min(aggregation.groups * runs as f64);
        }
        Ok(before <= FEW_ROWS || after <= LEFT_MAX * before)
    }
}

impl Aggregation {
    /// The leaf under the first step: fewer units where each finds about as many groups as all together.
    fn units(&self, leaf: Leaf) -> Leaf {
        let crowded = self.groups > MANY_GROUPS;
        Leaf { units_per_thread: if crowded { UNITS_PER_THREAD_OF_MANY_GROUPS } else { leaf.units_per_thread }, ..leaf }
    }

    /// The keys over what the exchange carries: the first step's output, or its input.
    fn keys_of_second_step(&self, in_two: bool) -> Vec<Expression> {
        let column = |(index, key): (usize, &Expression)| Expression::column(index, key.data_type());
        if in_two { self.keys.iter().enumerate().map(column).collect() } else { self.keys.clone() }
    }

    fn calls_of_second_step(&self) -> Vec<AggregateCall> {
        let call = |(index, call): (usize, &AggregateCall)| AggregateCall {
            function: match call.function {
                AggregateFunction::CountStar | AggregateFunction::Count => AggregateFunction::Sum,
                other => other,
            },
            arguments: vec![Expression::column(self.keys.len() + index, call.data_type.clone())],
            distinct: false,
            filter: None,
            data_type: call.data_type.clone(),
        };
        self.calls.iter().enumerate().map(call).collect()
    }
}

/// An aggregation that sees all rows of its groups.
fn in_place(mut plan: PhysicalPlan, inputs: Vec<Cut>, aggregation: &Aggregation, distribution: Distribution) -> Cut {
    if let (PhysicalOperator::HashAggregate { input, .. }, Some(below)) = (&mut plan.operator, inputs.into_iter().next()) {
        **input = below.plan;
    }
    let keys = &aggregation.keys;
    let distribution = match distribution.map(|positions| super::distribution::through_expressions(positions, keys)) {
        Distribution::Replicated if !gives_the_same_everywhere(&plan) => Distribution::Single,
        other => other,
    };
    Cut { plan, distribution }
}

/// Whether results over parts of the rows can be united to the result over all. The first of several values cannot where a part
/// without any has one too: NULL.
fn call_can_be_split(call: &AggregateCall, keys: &[Expression]) -> bool {
    use AggregateFunction::*;
    match call.function {
        // DISTINCT makes no difference to these.
        Min | Max | BoolAnd | BoolOr => true,
        CountStar | Count | Sum => !call.distinct,
        First => !keys.is_empty() && call.filter.is_none(),
        Average | StddevSamp | StddevPop | VarSamp | VarPop | StringAgg => false,
    }
}

/// Whether the result is the same in whatever order rows come. First values are those that the keys determine.
pub(super) fn ignores_order(call: &AggregateCall) -> bool {
    use AggregateFunction::*;
    let is_exact = || call.arguments.iter().all(|argument| !matches!(argument.data_type(), DataType::Float32 | DataType::Float64));
    match call.function {
        CountStar | Count | Min | Max | First | BoolAnd | BoolOr => true,
        Sum | Average => is_exact(),
        StddevSamp | StddevPop | VarSamp | VarPop | StringAgg => false,
    }
}
